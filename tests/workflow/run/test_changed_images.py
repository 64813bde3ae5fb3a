"""Images that are replaced before a run is resumed are counted; those that change while it reads them are named."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from clearsight.core.dataset import ClassMap, Dataset, Sample
from clearsight.core.errors import NotResumable
from clearsight.core.events import NullObserver, RunStatus, StepRecord
from clearsight.core.recipe import Recipe
from clearsight.core.run import Run
from clearsight.core.stop import StopKind, StopReason
from clearsight.workflow.paths import Paths
from clearsight.workflow.run.changed_images import check_same_images, image_changes, note_changed_images, write_images
from clearsight.workflow.run.context import LaunchContext
from clearsight.workflow.run.execute import data_facts
from clearsight.workflow.run.launch import launch_run, resume_run

NAMES = ('a/1, "new"\n.jpg', "a/2.jpg", "b/1.jpg", "b/街.jpg")


class NoSource:
    def read(self, locator: str) -> bytes:
        raise AssertionError("the digests are known")

    def stamp(self, locator: str) -> str:
        raise AssertionError("the digests are known")


def dataset(**digests: str) -> Dataset:
    """Return four images of two classes; keywords set the digests of the second to the fourth."""
    values = {"second": "d2", "third": "d3", "fourth": "d4", **digests}
    samples = tuple(
        Sample(id=name, locator=name, label=i // 2, split="train", digest=digest)
        for i, (name, digest) in enumerate(zip(NAMES, ("d1", *values.values()), strict=True))
    )
    return Dataset(samples=samples, classes=ClassMap(("a", "b")), source=NoSource(), path="photos")


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Return a run that began with `dataset()`."""
    run = Run.begin(tmp_path / "run", Recipe(), data=data_facts(Path("photos"), dataset()))
    write_images(run.files.images, dataset())
    return run


def refusal(run: Run, data: Dataset, *, accept_replaced: bool = False) -> str:
    with pytest.raises(NotResumable) as raised:
        check_same_images(run, data, Path("photos"), accept_replaced=accept_replaced)
    return str(raised.value)


def test_the_same_images_are_accepted(run: Run) -> None:
    check_same_images(run, dataset(), Path("photos"), accept_replaced=False)
    assert str(image_changes(run.files.images, dataset())) == ""


def test_replaced_images_are_counted_and_named(run: Run) -> None:
    assert refusal(run, dataset(third="x")) == (
        "photos: the data have changed since the run began: 1 image has another content (b/1.jpg). "
        "Restore them, or start a new run. Or go on with the new content: --accept-replaced."
    )
    assert "2 images have another content (b/1.jpg, b/街.jpg)" in refusal(run, dataset(third="x", fourth="y"))


def test_replaced_images_can_be_accepted_and_the_run_says_so(run: Run) -> None:
    changed = dataset(third="x")
    check_same_images(run, changed, Path("photos"), accept_replaced=True)
    assert run.data["fingerprint"] == changed.fingerprint
    (notice,) = run.data["notices"]
    assert notice["text"] == "Replaced while the run was interrupted: 1 image has another content (b/1.jpg)."
    check_same_images(run, changed, Path("photos"), accept_replaced=False)  # from now on these are its images
    assert "b/1.jpg" in refusal(run, dataset())


@pytest.mark.parametrize(
    ("samples", "sentence"),
    [
        (dataset().samples[:3], "1 image is gone (b/街.jpg)"),
        ((*dataset().samples, Sample(id="c", locator="c", label=0, split="train", digest="x")), "1 image is new (c)"),
        ((replace(dataset().samples[0], label=1), *dataset().samples[1:]), "1 image has another class or split"),
        ((replace(dataset().samples[0], split="valid"), *dataset().samples[1:]), "1 image has another class or split"),
    ],
    ids=["gone", "new", "class", "split"],
)
def test_other_images_are_never_accepted(run: Run, samples: tuple[Sample, ...], sentence: str) -> None:
    text = refusal(run, replace(dataset(), samples=samples), accept_replaced=True)
    assert sentence in text
    assert "--accept-replaced" not in text


@pytest.mark.parametrize("content", [None, "", "digest,split\n", "no,table\n1", "\0"])
def test_without_a_list_of_images_the_run_is_refused_without_a_count(run: Run, content: str | None) -> None:
    run.files.images.unlink()
    if content is not None:
        run.files.images.write_text(content)
    assert "the data have changed since the run began. Restore" in refusal(run, dataset(third="x"))


def test_a_run_of_an_earlier_version_goes_on_with_a_note(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    run.data = {**run.data, "fingerprint": "of other digests"}
    del run.data["digests"]
    check_same_images(run, dataset(), Path("photos"), accept_replaced=False)
    assert "an earlier version began this run" in caplog.text
    assert run.data["fingerprint"] == dataset().fingerprint


def test_images_that_changed_during_the_run_are_named_in_it(run: Run) -> None:
    data = dataset()
    note_changed_images(run, data)
    assert run.data["notices"] == []
    data.split("train").changed.update({"b/1.jpg", "a/2.jpg"})
    note_changed_images(run, data)
    (notice,) = run.data["notices"]
    assert notice["code"] == "changed-image"
    assert notice["text"].startswith("2 images changed while the run read them (a/2.jpg, b/1.jpg)")


class Stop(NullObserver):
    """Asks for a stop after the first step."""

    taken = 0

    def on_step(self, record: StepRecord) -> None:
        self.taken = record.step

    def halt(self) -> StopReason | None:
        return StopReason(StopKind.SIGNAL, "stopped by a test") if self.taken else None


@pytest.fixture
def photos(digits: Path, tmp_path: Path) -> Path:
    for split in ("train", "valid"):
        for name in ("3", "7"):
            images = sorted((digits / split / name).iterdir())[:12]
            (tmp_path / "photos" / split / name).mkdir(parents=True)
            for image in images:
                shutil.copy(image, tmp_path / "photos" / split / name)
    return tmp_path / "photos"


def test_a_resumed_run_counts_and_accepts_replaced_images(photos: Path, tmp_path: Path) -> None:
    small = {"image_size": 32, "batch_size": 8, "epochs": 2, "threads": 1, "debug": "off", "profile": "off"}
    recipe, paths, stop = Recipe().replace(model="tiny", weights="none", **small), Paths.of({}), Stop()
    paths = replace(paths, cache=tmp_path / "cache")
    launch = LaunchContext(paths=paths, observers=[stop], halt=stop.halt)
    assert launch_run(photos, tmp_path / "run", recipe, launch).status is RunStatus.INTERRUPTED
    first, second = sorted((photos / "train" / "3").iterdir())[:2]
    shutil.copy2(second, first)
    with pytest.raises(NotResumable, match=r"1 image has another content \(train/3/"):
        resume_run(tmp_path / "run", LaunchContext(paths=paths))
    run = resume_run(tmp_path / "run", LaunchContext(paths=paths), accept_replaced=True)
    assert run.status is RunStatus.COMPLETED
    assert any("Replaced while the run was interrupted" in notice["text"] for notice in run.data["notices"])
