"""A transform writes each image once, in order, and goes on wherever it ended: by kill -9, by an error, by Ctrl-C."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import httpx
import pytest

from clearsight.core.errors import BadData, BadValue, NotFound, NotResumable
from clearsight.core.safe_text import csv_rows
from clearsight.testing.mean_colour import make_bundle
from clearsight.workflow.deployment.endpoint_client import EndpointClient, EndpointUnavailable
from clearsight.workflow.predict import predict
from clearsight.workflow.serve import ServeOptions, serving
from clearsight.workflow.transform import transform as verb
from clearsight.workflow.transform.classifiers import BundleClassifier, EndpointClassifier
from clearsight.workflow.transform.transform import TransformOptions, TransformResult, transform
from tests.workflow.colour_images import write_image

SMALL = TransformOptions(batch_size=4, workers=2)
KINDS = ["out.jsonl", "out.csv", "out.parquet", "out"]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return make_bundle(tmp_path / "bundle").path


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory, shared: Path) -> Path:
    """A folder with 90 links to real images, one of which is damaged."""
    root = tmp_path_factory.mktemp("photos")
    scenes = sorted((shared / "data" / "intel-scenes" / "seg_pred").glob("*.jpg"))[:30]
    for part in ("a", "b, or so", "ü"):
        (root / part).mkdir()
        for scene in scenes:
            os.symlink(scene, root / part / scene.name)
    (root / "a" / scenes[3].name).unlink()
    (root / "a" / scenes[3].name).write_bytes(scenes[3].read_bytes()[:200])
    return root


def names(photos: Path) -> list[str]:
    return [file.relative_to(photos).as_posix() for file in sorted(photos.rglob("*.jpg"))]


def rows(output: Path) -> list[dict[str, Any]]:
    """Return path, label and error of each image, whatever the kind of output."""
    if output.is_dir():
        files = sorted(output.rglob("*.out"))
        found = [
            {"path": file.relative_to(output).as_posix().removesuffix(".out"), **json.loads(file.read_text())}
            for file in files
        ]
    elif output.suffix == ".csv":
        found = [dict(row) for row in csv_rows(output)]
    elif output.suffix == ".parquet":
        from pyarrow import parquet

        found = parquet.read_table(output).to_pylist()
    else:
        found = [json.loads(line) for line in output.read_text().splitlines()]
    return [{key: row.get(key) or None for key in ("path", "label", "error")} for row in found]


@pytest.mark.parametrize("kind", KINDS)
def test_each_image_has_its_class_in_the_order_of_the_input(
    model: Path, photos: Path, tmp_path: Path, kind: str
) -> None:
    progress: list[tuple[int, int]] = []
    result = transform(
        model, photos, tmp_path / kind, SMALL, progress=lambda activity, done, total: progress.append((done, total))
    )
    expected = predict(model, [photos / name for name in names(photos)])
    assert rows(tmp_path / kind) == [
        {"path": name, "label": row.label, "error": row.error}
        for name, row in zip(names(photos), expected, strict=True)
    ]
    assert (result.images, result.errors, result.written) == (90, 1, 90)
    assert (progress[0], progress[-1]) == ((0, 90), (90, 90))
    again = transform(model, photos, tmp_path / kind, SMALL)
    assert (again.images, again.errors, again.written, again.images_per_second) == (90, 1, 0, None)
    assert not list(tmp_path.glob("*.parquet.jsonl"))


def test_a_file_of_a_folder_is_what_the_endpoint_answers(model: Path, photos: Path, tmp_path: Path) -> None:
    transform(model, photos, tmp_path / "out", SMALL)
    image = names(photos)[0]
    with serving(model, ServeOptions(port=0)) as url:
        response = httpx.post(f"{url}/invocations", content=(photos / image).read_bytes(), trust_env=False)
    mine, theirs = json.loads((tmp_path / "out" / f"{image}.out").read_text()), response.json()
    assert mine.keys() == theirs.keys()
    assert mine["probabilities"] == pytest.approx(theirs["probabilities"], abs=1e-6)
    assert [entry["label"] for entry in mine["top"]] == [entry["label"] for entry in theirs["top"]]


_KILLED = """
import os, signal, sys
from clearsight.workflow.transform.transform import TransformOptions, transform

def progress(activity, done, total):
    if done >= int(sys.argv[4]):
        os.kill(os.getpid(), signal.SIGKILL)

transform(*sys.argv[1:4], TransformOptions(batch_size=4, workers=2), progress=progress)
"""


@pytest.mark.parametrize("kind", KINDS)
def test_three_kills_lose_and_repeat_nothing(model: Path, photos: Path, tmp_path: Path, kind: str) -> None:
    output = tmp_path / kind
    for most in ("20", "41", "70"):
        words = [sys.executable, "-c", _KILLED, str(model), str(photos), str(output), most]
        assert subprocess.run(words, timeout=120).returncode == -signal.SIGKILL
        tear(tmp_path / "out.parquet.jsonl" if kind == "out.parquet" else output)
    result = transform(model, photos, output, SMALL)
    assert 0 < result.written < 40
    assert (result.images, result.errors) == (90, 1)
    assert [row["path"] for row in rows(output)] == names(photos)
    transform(model, photos, tmp_path / f"whole-{kind}", SMALL)
    assert rows(output) == rows(tmp_path / f"whole-{kind}")


def tear(output: Path) -> None:
    """Leave what a kill within a write may leave: half a row, or an empty file."""
    if output.is_dir():
        last = sorted(output.rglob("*.out"))[-1]
        last.write_bytes(b"")
    else:
        output.write_bytes(output.read_bytes()[:-9])


def test_an_output_of_another_model_or_input_is_not_continued(model: Path, photos: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"
    transform(model, photos / "a", output, SMALL)
    before = output.read_bytes()
    with pytest.raises(NotResumable, match=r"it is of another input .* or pass --restart"):
        transform(model, photos / "ü", output, SMALL)
    other = make_bundle(tmp_path / "other", temperature=4.0).path
    with pytest.raises(NotResumable, match="it is of another model of the same name"):
        transform(other, photos / "a", output, SMALL)
    assert output.read_bytes() == before
    assert transform(other, photos / "a", output, TransformOptions(restart=True)).written == 30
    assert output.read_bytes() != before


@pytest.mark.parametrize("kind", ["out.jsonl", "out.csv", "out.parquet"])
def test_an_input_whose_images_changed_is_noticed(model: Path, photos: Path, tmp_path: Path, kind: str) -> None:
    shutil.copytree(photos / "a", tmp_path / "in")
    transform(model, tmp_path / "in", tmp_path / kind, SMALL)
    third = sorted((tmp_path / "in").iterdir())[2]
    third.rename(third.with_name("0.jpg"))
    with pytest.raises(NotResumable, match=r"its row 1 is not of 0\.jpg"):
        transform(model, tmp_path / "in", tmp_path / kind, SMALL)
    third.with_name("0.jpg").rename(third)
    sorted((tmp_path / "in").iterdir())[-1].unlink()
    with pytest.raises(NotResumable, match="more rows than its input has images now"):
        transform(model, tmp_path / "in", tmp_path / kind, SMALL)


def test_a_list_that_grew_is_continued(model: Path, photos: Path, tmp_path: Path) -> None:
    files = [str(photos / name) for name in names(photos)]
    assert transform(model, files[:10], tmp_path / "out.csv", SMALL).written == 10
    result = transform(model, files[:25], tmp_path / "out.csv", SMALL)
    assert (result.images, result.written) == (25, 15)
    assert [row["path"] for row in rows(tmp_path / "out.csv")] == files[:25]


def test_files_of_others_are_left_alone(model: Path, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text("a,b\n")
    with pytest.raises(NotResumable, match="clearsight transform did not write it"):
        transform(model, photos, tmp_path / "mine.csv")
    (tmp_path / "build").mkdir()
    (tmp_path / "build" / "a.out").write_bytes(b"\x7fELF")
    for options in (SMALL, TransformOptions(restart=True)):
        with pytest.raises(NotResumable, match="Name another folder"):
            transform(model, photos, tmp_path / "build", options)
    assert (tmp_path / "build" / "a.out").read_bytes() == b"\x7fELF"
    listing = tmp_path / "list.csv"
    listing.write_text("path\nb.jpg\n")
    with pytest.raises(BadValue, match="it is the input"):
        transform(model, listing, listing, TransformOptions(restart=True))
    with pytest.raises(BadValue, match=r"files must end in \.jsonl, \.csv, \.parquet"):
        transform(model, photos, tmp_path / "out.json")
    with pytest.raises(NotFound):
        transform(model, tmp_path / "nowhere", tmp_path / "out.jsonl")


def test_a_restarted_folder_has_no_file_of_the_model_before(model: Path, photos: Path, tmp_path: Path) -> None:
    transform(model, photos, tmp_path / "out", SMALL)
    other = make_bundle(tmp_path / "other", temperature=4.0).path
    result = transform(other, photos / "a", tmp_path / "out", TransformOptions(restart=True))
    assert (result.written, len(rows(tmp_path / "out"))) == (30, 30)


def test_on_error_stop_ends_before_the_damaged_image(model: Path, photos: Path, tmp_path: Path) -> None:
    stopping = TransformOptions(batch_size=4, on_error="stop")
    damaged = next(name for name in names(photos) if not os.path.islink(photos / name))
    place = names(photos).index(damaged)
    with pytest.raises(BadData, match=r"--on-error skip"):
        transform(model, photos, tmp_path / "out.jsonl", stopping)
    assert [row["path"] for row in rows(tmp_path / "out.jsonl")] == names(photos)[:place]
    assert transform(model, photos, tmp_path / "out.jsonl", SMALL).written == 90 - place


def test_names_that_break_rows_are_continued(model: Path, tmp_path: Path) -> None:
    files = [
        write_image(tmp_path / "in" / name, "red") for name in ('a "b".png', "=1+1.png", "new\nline.png", "ü,.png")
    ]
    paths = [str(file) for file in files]
    for kind in ("out.csv", "out.jsonl", "out"):
        transform(model, paths[:3], tmp_path / kind, TransformOptions(batch_size=1))
        assert transform(model, paths, tmp_path / kind, SMALL).written == 1
    assert [row["path"] for row in csv_rows(tmp_path / "out.csv")] == paths
    with (tmp_path / "out.csv").open(newline="") as lines:
        assert len(list(csv.reader(lines))) == 5


def test_two_transforms_do_not_write_one_output(model: Path, photos: Path, tmp_path: Path) -> None:
    def second(activity: str, done: int, total: int) -> None:
        if done == 12:
            with pytest.raises(NotResumable, match=f"process {os.getpid()} .* works on this output"):
                transform(model, photos, tmp_path / "out.jsonl", TransformOptions(restart=True))

    assert transform(model, photos, tmp_path / "out.jsonl", SMALL, progress=second).written == 90
    assert [row["path"] for row in rows(tmp_path / "out.jsonl")] == names(photos)


def test_an_interrupt_leaves_whole_rows(model: Path, photos: Path, tmp_path: Path) -> None:
    def interrupt(activity: str, done: int, total: int) -> None:
        if done >= 12:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        transform(model, photos, tmp_path / "out.jsonl", SMALL, progress=interrupt)
    assert len(rows(tmp_path / "out.jsonl")) == 12
    assert not list(tmp_path.glob(".*lock")), "the lock is released"
    assert transform(model, photos, tmp_path / "out.jsonl", SMALL).written == 78


class _Counting:
    """Images of which only a window is ever open."""

    def __init__(self, images: list[Any]) -> None:
        self.drawn, self._images = 0, images

    def __iter__(self) -> Iterator[Any]:
        for image in self._images:
            self.drawn += 1
            yield image


def test_images_are_read_a_few_batches_in_advance(model: Path, photos: Path) -> None:
    from clearsight.core.bundle import Bundle
    from clearsight.workflow.predictors import open_predictor
    from clearsight.workflow.transform.sources import open_source

    images = _Counting(list(open_source(photos).images()))
    batches = BundleClassifier(open_predictor(Bundle.open(model)), 2).batches(iter(images), 4)
    assert len(next(batches)) == 4
    assert images.drawn <= 12
    batches.close()
    assert images.drawn <= 12


def test_an_endpoint_writes_what_the_bundle_writes(model: Path, photos: Path, tmp_path: Path) -> None:
    transform(model, photos, tmp_path / "bundle.jsonl", SMALL)
    with serving(model, ServeOptions(port=0)) as url:
        client = EndpointClient("dogs", url)
        result = through(client, photos, tmp_path / "endpoint.jsonl")
        client.close()
    assert (result, len(rows(tmp_path / "endpoint.jsonl"))) == (90, 90)
    remote, local = (
        [json.loads(line) for line in (tmp_path / name).read_text().splitlines()]
        for name in ("endpoint.jsonl", "bundle.jsonl")
    )
    for theirs, mine in zip(remote, local, strict=True):
        assert (theirs["path"], theirs.get("label")) == (mine["path"], mine.get("label"))
        assert theirs.get("probabilities") == pytest.approx(mine.get("probabilities"), abs=1e-6)
        assert bool(theirs.get("error")) == bool(mine.get("error"))


def test_an_endpoint_that_is_gone_is_no_error_of_an_image(model: Path, photos: Path, tmp_path: Path) -> None:
    with serving(model, ServeOptions(port=0)) as url:
        client = EndpointClient("dogs", url)
        classifier = EndpointClassifier(client)
    client.close()
    from clearsight.workflow.transform.sources import open_source

    with pytest.raises(EndpointUnavailable, match="it does not answer"):
        next(classifier.batches(open_source(photos).images(), 4))


class _BusyTwice(BaseHTTPRequestHandler):
    """Endpoint whose queue is full for the first two requests."""

    requests = 0

    def do_POST(self) -> None:
        type(self).requests += 1
        self.rfile.read(int(self.headers["Content-Length"]))
        is_busy = self.requests <= 2
        body = json.dumps({"error": "full"} if is_busy else {"probabilities": {"red": 1.0}}).encode()
        self.send_response(503 if is_busy else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *values: object) -> None:
        """Print nothing."""


def test_a_busy_endpoint_is_asked_again(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from clearsight.workflow.deployment import endpoint_client
    from clearsight.workflow.transform.sources import open_source

    monkeypatch.setattr(endpoint_client, "_PAUSE", 0.01)
    image = next(open_source(photos).images())
    with HTTPServer(("127.0.0.1", 0), _BusyTwice) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        client = EndpointClient("dogs", f"http://127.0.0.1:{server.server_port}")
        assert endpoint_client.remote_outcome(client, image) == {"red": 1.0}
        monkeypatch.setattr(_BusyTwice, "requests", 0)
        monkeypatch.setattr(endpoint_client, "_SECONDS", 0.0)
        with pytest.raises(EndpointUnavailable, match="it is busy"):
            endpoint_client.remote_outcome(client, image)
        client.close()
        server.shutdown()


def through(client: EndpointClient, photos: Path, output: Path) -> int:
    """Transform a folder by a client; return the images written."""
    from clearsight.workflow.transform.sources import open_source

    opened = verb.OpenedModel(
        classes=client.classes(), digest="0" * 64, name="endpoint:dogs", classifier=lambda: EndpointClassifier(client)
    )
    return verb.write_output(opened, open_source(photos), output, SMALL, lambda activity, done, total: None).written


def test_the_result_reads_as_lines_and_as_json(model: Path, photos: Path, tmp_path: Path) -> None:
    result = transform(model, photos, tmp_path / "out.jsonl", SMALL)
    assert isinstance(result, TransformResult)
    first, second, *_ = repr(result).splitlines()
    assert first == f"written  {tmp_path / 'out.jsonl'}  (90 images)"
    assert second.startswith("speed    ")
    assert repr(result).endswith("errors   1 image could not be read; the output says why")
    assert json.loads(json.dumps(result.to_json()))["images"] == 90
    assert "out.jsonl" in result._repr_html_()
