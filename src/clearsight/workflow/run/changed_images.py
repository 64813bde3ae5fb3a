"""Images that are no longer those of a run: replaced before it is resumed, or while it reads them."""

from __future__ import annotations

import csv
import io
import logging
from dataclasses import dataclass
from pathlib import Path

from clearsight.core.dataset import Dataset
from clearsight.core.errors import NotResumable, listed
from clearsight.core.files import write_text
from clearsight.core.run import Run

log = logging.getLogger(__name__)

DIGESTS = "sha256"  # of the images; a run of an earlier version has no such entry, and its fingerprint means another
_HEAD = ("digest", "split", "class", "id")
_SHOWN = 3  # names in a sentence


def write_images(path: Path, data: Dataset) -> None:
    """Write a CSV with digest, split, class and id of every image, to tell later which of them are others."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(_HEAD)
    rows.writerows((digest, split, name, image) for image, (digest, split, name) in _images(data).items())
    write_text(path, text.getvalue())


@dataclass(frozen=True, kw_only=True)
class ImageChanges:
    """Ids of the images that differ between two states of a dataset."""

    replaced: tuple[str, ...]  # another content
    added: tuple[str, ...]
    removed: tuple[str, ...]
    moved: tuple[str, ...]  # another class or split

    def __str__(self) -> str:
        """Return "2 images have another content (a/1.jpg, a/2.jpg), 1 image is new (b/7.jpg)"; "" for none."""
        kinds = (
            (self.replaced, "has another content", "have another content"),
            (self.moved, "has another class or split", "have another class or split"),
            (self.added, "is new", "are new"),
            (self.removed, "is gone", "are gone"),
        )
        return ", ".join(
            f"{len(ids):,} {f'image {one}' if len(ids) == 1 else f'images {many}'} ({listed(ids, _SHOWN)})"
            for ids, one, many in kinds
            if ids
        )


def image_changes(path: Path, data: Dataset) -> ImageChanges | None:
    """Return what differs between the images in the file of `write_images` and `data`; None without a whole file."""
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            head, *rows = csv.reader(stream)
        then = {image: (digest, split, name) for digest, split, name, image in rows}
    except (OSError, ValueError, csv.Error):
        return None
    if tuple(head) != _HEAD:
        return None
    now = _images(data)
    both = [image for image in now if image in then]
    return ImageChanges(
        replaced=tuple(image for image in both if now[image][0] != then[image][0]),
        moved=tuple(image for image in both if now[image][1:] != then[image][1:]),
        added=tuple(image for image in now if image not in then),
        removed=tuple(image for image in then if image not in now),
    )


def _images(data: Dataset) -> dict[str, tuple[str, str, str]]:
    """Return digest, split and class by id."""
    names = data.classes.names
    return {s.id: (s.digest, s.split, "" if s.label is None else names[s.label]) for s in data.samples}


def check_same_images(run: Run, data: Dataset, source: Path, *, accept_replaced: bool) -> None:
    """Raise NotResumable unless the images of `data` are those that the run began with.

    accept_replaced: True goes on with images whose content is another one; the run says so. Other images, splits or
    classes would make the order of the epoch, and so the result, another one: they are never accepted.
    """
    if data.fingerprint == run.data["fingerprint"]:
        return
    if "digests" not in run.data and run.data.get("counts") == data.counts():
        log.warning("note: an earlier version began this run; whether its images are still the same is not known.")
        run.data |= {"fingerprint": data.fingerprint, "digests": DIGESTS}
        return
    changes = image_changes(run.files.images, data)
    what = f": {changes}" if changes is not None else ""
    only_replaced = changes is not None and not (changes.added or changes.removed or changes.moved)
    if not (accept_replaced and only_replaced):
        more = " Or go on with the new content: --accept-replaced." if only_replaced else ""
        fix = f"Restore them, or start a new run.{more}"
        raise NotResumable(str(source), f"the data have changed since the run began{what}", fix=fix)
    _note(run, f"Replaced while the run was interrupted{what}.")
    run.data["fingerprint"] = data.fingerprint
    write_images(run.files.images, data)


def note_changed_images(run: Run, data: Dataset) -> None:
    """Name, in the notices of the run, the images that changed while it read them."""
    if data.changed:
        names = sorted(data.changed)
        what = f"{len(names):,} {'image' if len(names) == 1 else 'images'}"
        _note(run, f"{what} changed while the run read them ({listed(names, _SHOWN)}): its result cannot be repeated.")


def _note(run: Run, text: str) -> None:
    log.warning("note: %s", text)
    run.data["notices"] = [*run.data.get("notices", ()), {"code": "changed-image", "text": text}]
