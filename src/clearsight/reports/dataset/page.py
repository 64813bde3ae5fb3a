"""Page of a dataset: warnings first, then its contents, then the images that the warnings are about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from clearsight.core.format import count, several
from clearsight.reports.charts.class_counts import counts_panel
from clearsight.reports.charts.learning import size_histogram
from clearsight.reports.kit.document import Page
from clearsight.reports.kit.format import UNKNOWN
from clearsight.reports.kit.section import PageSection, Panel, notice_values, panels_section, table, table_section

THUMBNAIL = 72  # pixels of the longer side; about 3 kB each
# With four kinds of groups, and the images of the classes, the page stays under 2.5 MB.
GROUPS_SHOWN = 10  # of each kind
_MEMBERS_SHOWN = 4
CLASSES_SHOWN = 48  # with images
_CORRUPT_LISTED = 500  # a dataset on a broken disk may have all its images here

Group = tuple[str, Sequence[tuple[str, str]]]  # remark on the group, and (path, split or "") of each member


@dataclass(frozen=True, kw_only=True)
class DatasetReportData:
    """One dataset in plain values.

    audit: as JSON, {"classes", "splits": {split: {class: count}}, "imbalance", "corrupt": [{"path", "reason"}],
        "duplicates": [[path]], "leaks": [{"paths", "splits", "exact"}], "warnings": [{"code", "text"}]} and, where they
        are known, "near_duplicates", "flipped", "label_errors", "similar", "conflicts", "short_sides",
        "common_sizes", "formats", "small", "rotated", "input_size".
    examples: class name -> paths of some of its images.
    extremes: title ("Smallest") -> (path, what it measures) of images.
    thumbnails: path -> data URI; images without one are shown by path alone. See `images_to_show`.
    """

    audit: Mapping[str, Any]
    examples: Mapping[str, Sequence[str]] = field(default_factory=dict)
    extremes: Mapping[str, Sequence[tuple[str, str]]] = field(default_factory=dict)
    thumbnails: Mapping[str, str] = field(default_factory=dict)
    name: str = "Dataset"


def images_to_show(report: DatasetReportData) -> list[str]:
    """Return the paths of the images that the page shows, each once: no other needs to be decoded."""
    audit = report.audit
    # The same bounds as in the sections below: an image that is not shown must not be decoded.
    groups: list[Sequence[str]] = [leak["paths"] for leak in audit["leaks"][:GROUPS_SHOWN]]
    groups += [[item["path"]] for item in (audit.get("label_errors") or {}).get("suspects", ())[:GROUPS_SHOWN]]
    groups += [pair["paths"] for pair in audit.get("similar", ())[:GROUPS_SHOWN]]
    for kind in ("conflicts", "duplicates", "near_duplicates", "flipped"):
        groups += audit.get(kind, ())[:GROUPS_SHOWN]
    shown = [path for group in groups for path in group[:_MEMBERS_SHOWN]]
    shown += [path for name in _example_classes(report) for path in report.examples[name]]
    shown += [path for row in report.extremes.values() for path, _ in row]
    return list(dict.fromkeys(shown))


def overview(report: DatasetReportData) -> PageSection:
    """Return the warnings, and the numbers of images, classes and faults."""
    audit, splits = report.audit, report.audit["splits"]
    images = sum(sum(row.values()) for row in splits.values())
    sizes = ", ".join(f"{count(sum(row.values()))} {split}" for split, row in splits.items())
    ratio = audit["imbalance"]  # None without labels
    figures = [
        ("images", count(images), sizes),
        ("classes", count(len(audit["classes"])), ""),
        ("imbalance", UNKNOWN if ratio is None else f"{ratio:.1f}", "largest over smallest class"),
        ("unreadable", count(len(audit["corrupt"])), "cannot be decoded"),
        ("leaks", count(len(audit["leaks"])), "same image in two splits"),
    ]
    return PageSection(
        key="overview",
        title="Overview",
        template="dataset/overview.html",
        values={"notices": [notice_values(warning) for warning in audit["warnings"]], "figures": figures},
    )


def classes(report: DatasetReportData) -> PageSection | None:
    """Return the images per class; None for a dataset without labels."""
    audit = report.audit
    if not audit["classes"]:
        return None
    return panels_section("classes", "Classes", [counts_panel(audit["splits"], audit["classes"])])


def examples(report: DatasetReportData) -> PageSection | None:
    """Return some images of each class; None for a dataset without labels."""
    names = _example_classes(report)
    if not names:
        return None
    splits, left = report.audit["splits"].values(), len(report.examples) - len(names)
    rows = [
        {
            "title": name,
            "remark": several(sum(row.get(name, 0) for row in splits), "image"),
            "images": [_image(report, path, "") for path in report.examples[name]],
        }
        for name in names
    ]
    note = f"Shown are the {len(names)} rarest of {count(len(report.examples))} classes." if left else ""
    values = {"rows": rows, "note": note}
    return PageSection(key="examples", title="Images of each class", template="dataset/images.html", values=values)


def extremes(report: DatasetReportData) -> PageSection | None:
    """Return the smallest, largest, darkest and brightest images; None where all images are alike."""
    rows = [
        {"title": title, "remark": "", "images": [_image(report, path, remark) for path, remark in row]}
        for title, row in report.extremes.items()
    ]
    if not rows:
        return None
    values = {"rows": rows, "note": ""}
    return PageSection(key="extremes", title="Extreme images", template="dataset/images.html", values=values)


def _example_classes(report: DatasetReportData) -> list[str]:
    """Return the classes whose images are shown: all, or the rarest in the order of the classes."""
    splits = report.audit["splits"].values()
    rarest = sorted(report.examples, key=lambda name: sum(row.get(name, 0) for row in splits))[:CLASSES_SHOWN]
    return [name for name in report.examples if name in set(rarest)]


def _image(report: DatasetReportData, path: str, remark: str) -> dict[str, str]:
    return {"path": path, "remark": remark, "thumbnail": report.thumbnails.get(path, "")}


def sizes(report: DatasetReportData) -> PageSection | None:
    """Return the histogram of the shorter sides and the most common sizes; None when sizes were not measured."""
    audit = report.audit
    bins = [(_pixel_range(bin_), bin_["count"]) for bin_ in audit.get("short_sides", ())]
    if not bins:
        return None
    rows = [(name, count(images)) for name, images in bins]
    panel = Panel(
        key="sizes",
        title="Shorter side",
        description=f"Histogram of the shorter side of images, from {bins[0][0]} to {bins[-1][0]} pixels.",
        figure=size_histogram(bins),
        table=table("Shorter side", ("pixels", "images"), "lr", rows),
    )
    sizes = [(f"{size['width']} × {size['height']}", count(size["count"])) for size in audit.get("common_sizes", ())]
    common = table("Most common sizes", ("width × height", "images"), "lr", sizes)
    values = {"common": common, "notes": _size_notes(audit)}
    return PageSection(key="size", title="Sizes", template="dataset/sizes.html", values=values, panels=(panel,))


def corrupt(report: DatasetReportData) -> PageSection | None:
    """Return the images that cannot be decoded, with the reason of each; None without any."""
    images = report.audit["corrupt"]
    if not images:
        return None
    rows = [(image["path"], image["reason"]) for image in images[:_CORRUPT_LISTED]]
    left = len(images) - len(rows)
    return table_section(
        "corrupt",
        "Unreadable",
        table("Unreadable images", ("path", "reason"), "ll", rows),
        about=f"{several(len(images), 'image')} cannot be decoded.",
        note=f"{left} more are not shown; the JSON output lists them all." if left else "",
    )


def leaks(report: DatasetReportData) -> PageSection | None:
    """Return the images that are in two splits."""
    groups = [
        (_leak_kind(leak), list(zip(leak["paths"], leak["splits"], strict=True))) for leak in report.audit["leaks"]
    ]
    about = "The same image is in two splits: scores on it are too optimistic."
    return _groups_section(report, "leaks", "Leaks", about, groups)


def _leak_kind(leak: Mapping[str, Any]) -> str:
    if leak["exact"]:
        return "same bytes"
    return "mirror image" if leak.get("flipped") else "looks the same"


def path_groups(report: DatasetReportData, kind: str, title: str, about: str) -> PageSection | None:
    """Return the groups of images that the audit lists under `kind`."""
    groups: list[Group] = [("", [(path, "") for path in paths]) for paths in report.audit.get(kind, ())]
    return _groups_section(report, kind.replace("_", "-"), title, about, groups)


conflicts = partial(
    path_groups,
    kind="conflicts",
    title="Conflicting labels",
    about="The same image has two classes: at most one of them is correct.",
)
copies = partial(path_groups, kind="duplicates", title="Exact copies", about="These files hold the same bytes.")
near_copies = partial(
    path_groups, kind="near_duplicates", title="Near copies", about="These images look the same; the files differ."
)

flipped = partial(
    path_groups, kind="flipped", title="Mirror images", about="The same image with left and right exchanged."
)


def label_errors(report: DatasetReportData) -> PageSection | None:
    """Return the labels that features contradict, the worst first; None where they were not checked or all agree."""
    check = report.audit.get("label_errors") or {}
    groups: list[Group] = [
        (f"given {suspect['given']}, likely {suspect['likely']}", [(suspect["path"], "")])
        for suspect in check.get("suspects", ())
    ]
    about = "The label is probably wrong, by the features of a pretrained network; the most likely errors come first."
    return _groups_section(report, "label-errors", "Label errors", about, groups)


def similar(report: DatasetReportData) -> PageSection | None:
    """Return the images of later splits that resemble a training image by features."""
    groups: list[Group] = [("", [(path, "") for path in pair["paths"]]) for pair in report.audit.get("similar", ())]
    about = "An image of a later split resembles a training image by its features: it may be a crop of it."
    return _groups_section(report, "similar", "Similar images in two splits", about, groups)


class DatasetPage(Page[DatasetReportData]):
    """Page of one dataset."""

    kind = "Data report"
    # Leaks and conflicts come before copies: they make scores wrong, copies only waste time.
    SECTIONS = (
        overview,
        classes,
        examples,
        sizes,
        extremes,
        corrupt,
        leaks,
        conflicts,
        label_errors,
        similar,
        copies,
        near_copies,
        flipped,
    )

    def __init__(self, data: DatasetReportData) -> None:
        super().__init__(data, title=data.name)


def _groups_section(
    report: DatasetReportData, key: str, title: str, about: str, groups: Sequence[Group]
) -> PageSection | None:
    if not groups:
        return None
    shown = [
        {
            "remark": remark,
            "members": [
                {"path": path, "split": split, "thumbnail": report.thumbnails.get(path, "")}
                for path, split in members[:_MEMBERS_SHOWN]
            ],
            "left": max(0, len(members) - _MEMBERS_SHOWN),
        }
        for remark, members in groups[:GROUPS_SHOWN]
    ]
    values = {
        "about": f"{several(len(groups), 'group')}. {about}",
        "groups": shown,
        "left": max(0, len(groups) - GROUPS_SHOWN),
    }
    return PageSection(key=key, title=title, template="dataset/groups.html", values=values)


def _size_notes(audit: Mapping[str, Any]) -> list[str]:
    def images_are(kind: str) -> str:
        return f"{several(len(audit[kind]), 'image')} {'is' if len(audit[kind]) == 1 else 'are'}"

    notes = []
    # An audit without a network has no input size to compare with.
    if (size := audit.get("input_size")) and audit.get("small"):
        notes.append(f"{images_are('small')} smaller than the model's input of {size} pixels and will be enlarged.")
    if audit.get("rotated"):
        notes.append(f"{images_are('rotated')} rotated as the EXIF orientation says.")
    if audit.get("formats"):
        formats = ", ".join(f"{count(images)} {kind}" for kind, images in audit["formats"].items())
        notes.append(f"File formats: {formats}.")
    return notes


def _pixel_range(bin_: Mapping[str, Any]) -> str:
    # The upper end of a bin is exclusive; the last bin has none.
    return f"{bin_['low']}+" if bin_["high"] is None else f"{bin_['low']}–{bin_['high'] - 1}"
