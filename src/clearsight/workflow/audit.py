"""audit: counts, bad files, duplicates and leaks of a dataset, before anything is trained on it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clearsight.core.dataset import Dataset
from clearsight.core.errors import BadImage
from clearsight.core.files import write_text
from clearsight.core.recipe import Recipe
from clearsight.data.audit import Audit
from clearsight.data.audit import audit as audit_scan
from clearsight.data.decode import decode
from clearsight.workflow.paths import Paths
from clearsight.workflow.prepare.datasets import Progress, list_dataset, quiet, scan_dataset

_INPUT_SIZE = 224  # pixels: the input of most pretrained networks; no model is chosen yet


@dataclass(frozen=True, kw_only=True)
class AuditResult:
    """A dataset and the audit of its images."""

    dataset: Dataset
    found: Audit
    max_pixels: int

    def to_json(self) -> dict[str, Any]:
        """Return the shape of `clearsight data --json`."""
        return self.found.to_json()

    def write_page(self, path: Path) -> None:
        """Write the audit as one self-contained HTML page with thumbnails."""
        # Imported here: the terminal and --json need no charts.
        from clearsight.reports.dataset.page import DatasetPage, DatasetReportData, images_to_show
        from clearsight.reports.kit.thumbnail import thumbnail

        values = self.to_json()
        by_id = {sample.id: sample for sample in self.dataset.samples}
        thumbnails = {}
        for name in images_to_show(values):
            try:
                raw = self.dataset.source.read(by_id[name].locator)
                thumbnails[name] = thumbnail(decode(raw, max_pixels=self.max_pixels))
            except BadImage:
                continue  # the page lists it among the corrupt images
        report = DatasetReportData(audit=values, thumbnails=thumbnails, name=Path(self.dataset.path).name)
        write_text(path, DatasetPage(report).render())


def audit(
    data: str | Path,
    *,
    recipe: Recipe | None = None,
    paths: Paths | None = None,
    progress: Progress = quiet,
    **settings: Any,
) -> AuditResult:
    """Read every image at `data` once and return what is there and what looks wrong; settings as in `train`."""
    recipe = (recipe or Recipe()).replace(**settings)
    section = recipe.data
    dataset = list_dataset(Path(data).expanduser().resolve(), section, recipe.train.seed)
    scan = scan_dataset(dataset, section, paths or Paths.of({}), progress)
    found = audit_scan(dataset, scan, section.image_size or _INPUT_SIZE)
    return AuditResult(dataset=dataset, found=found, max_pixels=section.max_pixels)
