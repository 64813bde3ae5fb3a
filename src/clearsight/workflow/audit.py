"""audit: look at a dataset before anything is trained on it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clearsight.core.dataset import Dataset, Pixels
from clearsight.core.errors import BadImage
from clearsight.core.files import write_text
from clearsight.core.recipe import Recipe
from clearsight.data.audit import Audit
from clearsight.data.audit import audit as audit_scan
from clearsight.data.decode import decode
from clearsight.workflow.paths import Paths
from clearsight.workflow.prepare.datasets import Progress, list_dataset, quiet, scan_dataset

_INPUT_SIZE = 224  # what most pretrained networks see


@dataclass(frozen=True, kw_only=True)
class AuditResult:
    """A dataset and what was found in it."""

    dataset: Dataset
    found: Audit
    max_pixels: int

    def to_json(self) -> dict[str, Any]:
        """The shape of `clearsight data --json`."""
        return self.found.to_json()

    def write_page(self, path: Path) -> None:
        """The findings as one self-contained HTML page with thumbnails."""
        from clearsight.reports.dataset.page import data_page, images_wanted
        from clearsight.reports.kit.thumbnail import thumbnail

        facts = self.to_json()
        by_id = {sample.id: sample for sample in self.dataset.samples}
        small = {}
        for name in images_wanted(facts):
            try:
                small[name] = thumbnail(self._pixels(by_id[name].locator))
            except BadImage:
                continue  # the page lists it among the corrupt ones
        write_text(path, data_page(facts, small, name=Path(self.dataset.path).name))

    def _pixels(self, locator: str) -> Pixels:
        return decode(self.dataset.source.read(locator), max_pixels=self.max_pixels)


def audit(
    data: str | Path,
    *,
    recipe: Recipe | None = None,
    places: Paths | None = None,
    progress: Progress = quiet,
    **settings: Any,
) -> AuditResult:
    """Read every image at `data` once and say what is there and what is wrong; settings as in `fit`."""
    how = (recipe or Recipe()).replace(**settings)
    path, kept = Path(data).expanduser().resolve(), places or Paths.of({})
    dataset = list_dataset(path, how.data, how.train.seed)
    found = audit_scan(dataset, scan_dataset(dataset, how.data, kept, progress), how.data.image_size or _INPUT_SIZE)
    return AuditResult(dataset=dataset, found=found, max_pixels=how.data.max_pixels)
