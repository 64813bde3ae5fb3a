"""audit: counts, bad files, duplicates and leaks of a dataset, before anything is trained on it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from clearsight.core.dataset import Dataset, Notice, Pixels, Split
from clearsight.core.errors import BadChoice, BadImage, BadValue
from clearsight.core.files import write_text
from clearsight.core.label_check import LabelCheck
from clearsight.core.recipe import DataSection, Recipe
from clearsight.data.audit import Audit
from clearsight.data.audit import audit as audit_scan
from clearsight.data.decode import decode
from clearsight.data.scan import Scan, ScannedImage, drop_bad_images
from clearsight.workflow.display.text import audit_lines
from clearsight.workflow.paths import Paths
from clearsight.workflow.prepare.datasets import Progress, list_dataset, quiet, scan_dataset, with_value_range
from clearsight.workflow.results.figures import check_plotly, images_figure, standalone
from clearsight.workflow.results.html import facts_html, table_html

if TYPE_CHECKING:  # they load plotly and torch
    import plotly.graph_objects as go

    from clearsight.workflow.run.label_check import FeatureCheck

_EXAMPLES, _EXAMPLES_PER_CLASS = 96, 8  # images of classes on the page: in all, and of one class at most
_EXTREMES = 8  # images of a kind on the page
_INPUT_SIZE = 224  # pixels: the input of most pretrained networks; no model is chosen yet


_CLASSES_SHOWN = 12  # in the summary, which must fit one screen
_HTML_CLASSES = 24  # in a notebook


@dataclass(frozen=True, kw_only=True, repr=False)
class AuditResult:
    """A dataset, the scan of its images, their audit, and the settings that they are read by.

    features: the check of its labels by features, where it was asked for.
    """

    dataset: Dataset
    scan: Scan
    found: Audit
    section: DataSection
    features: FeatureCheck | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the shape of `clearsight data --json`."""
        return {**self.found.to_json(), **(self.features.to_json() if self.features is not None else {})}

    def plot(self, what: str = "classes", *, count: int = 8, split: str = "train") -> go.Figure:
        """Return a Plotly figure: "classes", the images of each class by split, or "images", some with their class.

        count: images, the classes in turn.  split: of those images.  Raises BadChoice for another name or split.
        """
        check_plotly()
        from clearsight.reports.charts.learning import class_count_bars

        name = Path(self.dataset.path).name
        if what == "classes":
            values = self.to_json()
            return standalone(class_count_bars(values["splits"], values["classes"]), f"Images of each class in {name}")
        if what != "images":
            raise BadChoice(f"plot({what!r})", "no such chart", got=what, allowed=("classes", "images"))
        return images_figure(self._labelled(split, count), f"Images of {name}, {split}")

    def __repr__(self) -> str:
        return "\n".join([f"Dataset {self.dataset.path}", *audit_lines(self.to_json(), classes=_CLASSES_SHOWN)])

    def _repr_html_(self) -> str:
        values = self.to_json()
        splits, classes = values["splits"], values["classes"][:_HTML_CLASSES]
        rows = [(name, *(f"{splits[split].get(name, 0):,}" for split in splits)) for name in classes]
        rows.append(("total", *(f"{sum(counts.values()):,}" for counts in splits.values())))
        kinds = ("corrupt", "duplicates", "near_duplicates", "flipped", "leaks", "small", "rotated")
        found = [(kind.replace("_", "-"), f"{len(values[kind]):,}" if values[kind] else "") for kind in kinds]
        more = len(values["classes"]) - len(classes)
        facts = [("classes", f"{len(values['classes'])}" + (f", {more} not shown" if more else "")), *found]
        facts += [("warning", warning["text"]) for warning in values["warnings"]]
        counted = table_html(("class", *splits), rows, right=range(1, len(splits) + 1))
        return facts_html(f"Dataset {self.dataset.path}", facts, counted)

    def _labelled(self, split: str, count: int) -> list[tuple[str, str]]:
        """Return up to `count` images of a split as (data URI, class), the classes in turn."""
        from clearsight.reports.kit.thumbnail import thumbnail

        if split not in self.dataset.counts():
            raise BadChoice(f"split {split!r}", "the data have no such split", got=split, allowed=self.dataset.counts())
        samples = self.dataset.split(cast(Split, split)).samples
        by_class: dict[int | None, list[Any]] = {}
        for sample in samples:
            by_class.setdefault(sample.label, []).append(sample)
        turns = zip_longest(*by_class.values())
        shown: list[tuple[str, str]] = []
        for sample in (sample for turn in turns for sample in turn if sample is not None):
            if len(shown) == count:
                break
            try:
                pixels = self._pixels(sample.locator)
            except BadImage:
                continue  # counted among the corrupt images
            name = self.dataset.classes[sample.label] if sample.label is not None else ""
            shown.append((thumbnail(pixels, 224), name))
        return shown

    def _pixels(self, locator: str) -> Pixels:
        """Return an image as training reads it. Raises BadImage."""
        section = self.section
        raw = self.dataset.source.read(locator)
        return decode(raw, max_pixels=section.max_pixels, value_range=section.value_range)

    def write_page(self, path: Path) -> None:
        """Write the audit as one self-contained HTML page with thumbnails."""
        # Imported here: the terminal and --json need no charts.
        from clearsight.reports.dataset.page import THUMBNAIL, DatasetPage, DatasetReportData, images_to_show
        from clearsight.reports.kit.thumbnail import thumbnail

        report = DatasetReportData(
            audit=self.to_json(),
            examples=class_examples(self.dataset, self.scan),
            extremes=extreme_images(self.scan),
            name=Path(self.dataset.path).name,
        )
        by_id = {sample.id: sample for sample in self.dataset.samples}
        thumbnails = {}
        for name in images_to_show(report):
            try:
                thumbnails[name] = thumbnail(self._pixels(by_id[name].locator), THUMBNAIL)
            except BadImage:
                continue  # the page lists it among the corrupt images
        write_text(path, DatasetPage(replace(report, thumbnails=thumbnails)).render())


def class_examples(dataset: Dataset, scan: Scan) -> dict[str, list[str]]:
    """Return class name -> ids of some of its images, evenly spaced over the dataset; bad ones are left out.

    Of n classes each has 96 / n images, and at least 2.
    """
    names, by_class = dataset.classes.names, defaultdict[str, list[str]](list)
    for sample in dataset.samples:
        if sample.label is not None and not scan.by_id[sample.id].bad:
            by_class[names[sample.label]].append(sample.id)
    most = max(_EXAMPLES // max(len(names), 1), 2)
    # Evenly spaced, because neighbours in a folder are often of one photographer or one day.
    return {name: _spaced(by_class[name], min(most, _EXAMPLES_PER_CLASS)) for name in names if by_class[name]}


def extreme_images(scan: Scan) -> dict[str, list[tuple[str, str]]]:
    """Return title -> (id, what it measures) of the smallest, largest, darkest and brightest images."""
    good = [image for image in scan.found if not image.bad]

    def size(image: ScannedImage) -> int:
        return image.width * image.height

    def brightness(image: ScannedImage) -> int:
        return image.brightness

    kinds: list[tuple[str, Callable[[ScannedImage], int], int]] = [
        ("Smallest", size, 1),
        ("Largest", size, -1),
        ("Darkest", brightness, 1),
        ("Brightest", brightness, -1),
    ]
    rows: dict[str, list[tuple[str, str]]] = {}
    for title, key, sign in kinds:
        # Of images that are all of one size none is the smallest.
        if len({key(image) for image in good}) > 1:
            first = sorted(good, key=lambda image: sign * key(image))[:_EXTREMES]
            rows[title] = [(image.id, _measure(image, key is size)) for image in first]
    return rows


def _measure(image: ScannedImage, is_size: bool) -> str:
    return f"{image.width} × {image.height}" if is_size else f"mean gray {image.brightness} of 255"


def _spaced(ids: list[str], most: int) -> list[str]:
    if len(ids) <= most:
        return ids
    return [ids[round(i * (len(ids) - 1) / (most - 1))] for i in range(most)]


def audit(
    data: str | Path,
    *,
    recipe: Recipe | None = None,
    paths: Paths | None = None,
    progress: Progress = quiet,
    label_errors: bool = False,
    **settings: Any,
) -> AuditResult:
    """Read every image at `data` once and return what is there and what looks wrong; settings as in `train`.

    label_errors: check the labels too, by the features of the recipe's model and weights.
    Raises BadValue for a model or weights without it, and what `check_by_features` raises.
    """
    if not label_errors and (unused := [name for name in ("model", "weights") if name in settings]):
        problem = "an audit uses no network, except to check labels"
        raise BadValue(f"--{unused[0]}", problem, fix=f"Add --label-errors, or leave --{unused[0]} out.")
    recipe = (recipe or Recipe()).replace(**settings)
    section = recipe.data
    dataset = list_dataset(Path(data).expanduser().resolve(), section, recipe.train.seed)
    paths = paths or Paths.of({})
    scan = scan_dataset(dataset, section, paths, progress)
    dataset, section = with_value_range(dataset, scan, section)
    found = audit_scan(dataset, scan, section.image_size or _INPUT_SIZE)
    checked = None
    if label_errors:
        from clearsight.workflow.run.label_check import check_by_features

        good = drop_bad_images(dataset, scan, "skip")
        recipe = recipe.replace(value_range=section.value_range)
        checked = check_by_features(good, recipe, paths, progress)
        found = replace(found, warnings=(*found.warnings, *label_warnings(checked.labels)))
    return AuditResult(dataset=dataset, scan=scan, found=found, section=section, features=checked)


def label_warnings(check: LabelCheck) -> list[Notice]:
    """Return the notice about noisy labels, if they are."""
    if not check.noisy:
        return []
    text = f"Label noise: {check.sentence()}. Check the labels listed as suspects."
    return [Notice(code="label-noise", text=text, paths=tuple(suspect.path for suspect in check.suspects))]
