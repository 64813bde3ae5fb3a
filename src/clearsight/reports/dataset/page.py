"""The page of a dataset: warnings first, then what is in it, then the images that the warnings are about."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from clearsight.reports.charts.class_counts import counts_panel
from clearsight.reports.charts.learning import size_histogram
from clearsight.reports.kit.document import Document
from clearsight.reports.kit.format import UNKNOWN, count, several
from clearsight.reports.kit.section import PageSection, Panel, Table, table
from clearsight.reports.run.data import PATHS_LISTED, noticed

GROUPS_SHOWN = 30  # of each kind; with six thumbnails each the page stays under 8 MB
_MEMBERS_SHOWN = 6


class Topic(NamedTuple):
    """What groups of images have in common."""

    key: str
    title: str
    about: str


_LEAKS = Topic("leaks", "Leaks", "The same image is in two splits: scores on it flatter the model.")
_CONFLICTS = Topic("conflicts", "Conflicting labels", "The same image has two classes: at most one can be right.")
_COPIES = Topic("duplicates", "Exact copies", "These files hold the same bytes.")
_NEAR_COPIES = Topic("near-duplicates", "Near copies", "These images look the same; the files differ.")

Group = tuple[str, Sequence[tuple[str, str]]]  # what is said of it, and (path, split or "") of each member


def data_page(audit: Mapping[str, Any], thumbnails: Mapping[str, str], *, name: str = "Dataset") -> str:
    """The page of one dataset as HTML, self-contained and offline.

    audit: as JSON, {"classes", "splits": {split: {class: count}}, "imbalance", "corrupt": [{"path", "reason"}],
        "duplicates": [[path]], "leaks": [{"paths", "splits", "exact"}], "warnings": [{"code", "text"}]} and, where they
        are known, "near_duplicates", "conflicts", "short_sides", "common_sizes", "formats", "small", "rotated",
        "input_size".
    thumbnails: path -> data-URI; images without one are shown by path alone. See `images_wanted`.
    """
    sections = [
        section
        for section in (
            _overview(audit),
            _counts(audit),
            _sizes(audit),
            _corrupt(audit),
            _images(_LEAKS, [_leak(leak) for leak in audit["leaks"]], thumbnails),
            _images(_CONFLICTS, _plain(audit.get("conflicts", ())), thumbnails),
            _images(_COPIES, _plain(audit["duplicates"]), thumbnails),
            _images(_NEAR_COPIES, _plain(audit.get("near_duplicates", ())), thumbnails),
        )
        if section is not None
    ]
    return Document(title=name, kind="Data report", sections=sections).render()


def images_wanted(audit: Mapping[str, Any]) -> list[str]:
    """The paths whose thumbnails the page would show, each once: no more need be decoded."""
    groups: list[Sequence[str]] = []
    groups += [leak["paths"] for leak in audit["leaks"][:GROUPS_SHOWN]]
    for kind in ("conflicts", "duplicates", "near_duplicates"):
        groups += audit.get(kind, ())[:GROUPS_SHOWN]
    return list(dict.fromkeys(path for group in groups for path in group[:_MEMBERS_SHOWN]))


def _overview(audit: Mapping[str, Any]) -> PageSection:
    splits = audit["splits"]
    images = sum(sum(row.values()) for row in splits.values())
    shares = ", ".join(f"{count(sum(row.values()))} {split}" for split, row in splits.items())
    ratio = audit["imbalance"]
    figures = [
        ("images", count(images), shares),
        ("classes", count(len(audit["classes"])), ""),
        ("imbalance", UNKNOWN if ratio is None else f"{ratio:.1f}", "largest over smallest class"),
        ("unreadable", count(len(audit["corrupt"])), "cannot be decoded"),
        ("leaks", count(len(audit["leaks"])), "same image in two splits"),
    ]
    return PageSection(
        key="overview",
        title="Overview",
        template="audit_overview.html",
        values={"notices": [noticed(warning) for warning in audit["warnings"]], "figures": figures},
    )


def _images(topic: Topic, groups: Sequence[Group], thumbnails: Mapping[str, str]) -> PageSection | None:
    if not groups:
        return None
    shown = [
        {
            "says": says,
            "members": [
                {"path": path, "split": split, "thumbnail": thumbnails.get(path, "")}
                for path, split in members[:_MEMBERS_SHOWN]
            ],
            "left": max(0, len(members) - _MEMBERS_SHOWN),
        }
        for says, members in groups[:GROUPS_SHOWN]
    ]
    return PageSection(
        key=topic.key,
        title=topic.title,
        template="audit_images.html",
        values={
            "about": f"{several(len(groups), 'group')}. {topic.about}",
            "groups": shown,
            "left": max(0, len(groups) - GROUPS_SHOWN),
        },
    )


def _leak(leak: Mapping[str, Any]) -> Group:
    return ("same bytes" if leak["exact"] else "looks the same", list(zip(leak["paths"], leak["splits"], strict=True)))


def _plain(groups: Iterable[Iterable[str]]) -> list[Group]:
    return [("", [(path, "") for path in paths]) for paths in groups]


def _corrupt(audit: Mapping[str, Any]) -> PageSection | None:
    found = audit["corrupt"]
    if not found:
        return None
    rows = [(one["path"], one["reason"]) for one in found[: 10 * PATHS_LISTED]]
    return PageSection(
        key="corrupt",
        title="Unreadable",
        template="audit_table.html",
        values={
            "about": f"{several(len(found), 'image')} cannot be decoded.",
            "table": table("Unreadable images", ("path", "reason"), "ll", rows),
            "left": len(found) - len(rows),
        },
    )


def _counts(audit: Mapping[str, Any]) -> PageSection | None:
    if not audit["classes"]:
        return None
    panel = counts_panel(audit["splits"], audit["classes"])
    return PageSection(key="classes", title="Classes", template="audit_counts.html", panels=(panel,))


def _sizes(audit: Mapping[str, Any]) -> PageSection | None:
    bins = [(_range(one), one["count"]) for one in audit.get("short_sides", ())]
    if not bins:
        return None
    rows = [(name, count(images)) for name, images in bins]
    panel = Panel(
        key="sizes",
        title="Shorter side",
        says=f"Histogram of the shorter side of images, from {bins[0][0]} to {bins[-1][0]} pixels.",
        figure=size_histogram(bins),
        table=table("Shorter side", ("pixels", "images"), "lr", rows),
    )
    values = {"common": _common(audit), "notes": _size_notes(audit)}
    return PageSection(key="size", title="Sizes", template="audit_sizes.html", values=values, panels=(panel,))


def _common(audit: Mapping[str, Any]) -> Table:
    rows = [(f"{one['width']} × {one['height']}", count(one["count"])) for one in audit.get("common_sizes", ())]
    return table("Most common sizes", ("width × height", "images"), "lr", rows)


def _size_notes(audit: Mapping[str, Any]) -> list[str]:
    notes = []
    if audit.get("input_size") and audit.get("small"):
        notes.append(
            f"{several(len(audit['small']), 'image')} smaller than the model's input of {audit['input_size']} pixels "
            "and enlarged for it."
        )
    if audit.get("rotated"):
        notes.append(f"{several(len(audit['rotated']), 'image')} turned upright by the EXIF orientation.")
    if audit.get("formats"):
        named = ", ".join(f"{count(images)} {kind}" for kind, images in audit["formats"].items())
        notes.append(f"File formats: {named}.")
    return notes


def _range(one: Mapping[str, Any]) -> str:
    return f"{one['low']}+" if one["high"] is None else f"{one['low']}–{one['high'] - 1}"
