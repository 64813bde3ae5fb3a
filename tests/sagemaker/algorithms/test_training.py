"""Training jobs of the built-in algorithm on photographs: channels, log, metrics, model, answers, and failures."""

from __future__ import annotations

import io
import json
import tarfile
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from clearsight.core.errors import BadData, BadImage, UnsupportedType
from clearsight_sagemaker.algorithms.built_in_algorithms import METRIC_DEFINITIONS
from clearsight_sagemaker.algorithms.image_classification.channel_images import ChannelImages
from clearsight_sagemaker.algorithms.image_classification.responses import ImageClassifier, is_algorithm_model
from tests.sagemaker.algorithms.record_writer import image_record, record_file
from tests.sagemaker.training.conftest import JobRun

IMAGE = "811284229777.dkr.ecr.us-east-1.amazonaws.com/image-classification:1"
SMALL = {"num_layers": "18", "image_shape": "3,32,32", "learning_rate": "0.01", "mini_batch_size": "4"}


def photographs(scenes: Path, start: int, count: int) -> list[tuple[int, Path]]:
    """Return images of two of six classes, 1 and 4, with their labels."""
    folders = sorted((scenes / "seg_train").iterdir())
    return [(label, path) for label in (1, 4) for path in sorted(folders[label].glob("*.jpg"))[start : start + count]]


def prepare(job: JobRun, **hyperparameters: str) -> None:
    job.request["AlgorithmSpecification"] = {
        "TrainingImage": IMAGE, "TrainingInputMode": "Pipe", "MetricDefinitions": [*METRIC_DEFINITIONS]
    }  # fmt: skip
    required = {"num_classes": "6", "num_training_samples": "8", "epochs": "1"}
    job.request["HyperParameters"] = {**required, **SMALL, **hyperparameters}


def test_record_files_are_class_folders(scenes: Path, tmp_path: Path) -> None:
    for channel, start, count in (("train", 0, 2), ("validation", 2, 1)):
        images = photographs(scenes, start, count)
        records = (image_record(n, [float(label)], path.read_bytes()) for n, (label, path) in enumerate(images))
        (tmp_path / channel).mkdir()
        (tmp_path / channel / "images.rec").write_bytes(record_file(records))
    counts = ChannelImages(folder=tmp_path, classes=6, manifests={}).write(tmp_path / "images")
    assert counts == {"train": 4, "validation": 2}
    written = [path.read_bytes() for path in sorted((tmp_path / "images" / "train").rglob("*.jpg"))]
    assert written == [path.read_bytes() for _, path in photographs(scenes, 0, 2)]


def check_responses(job: JobRun, photograph: Path, folder: Path) -> None:
    with tarfile.open(fileobj=io.BytesIO(job.get("job-1/output/model.tar.gz"))) as archive:
        archive.extractall(folder, filter="data")
    assert is_algorithm_model(folder)
    classifier = ImageClassifier.open(folder)
    body, content_type = classifier.respond(photograph.read_bytes(), "application/x-image")
    probabilities = json.loads(body)
    assert content_type == "application/json"
    assert [bool(value) for value in probabilities] == [False, True, False, False, True, False]
    assert sum(probabilities) == pytest.approx(1)
    line, _ = classifier.respond(photograph.read_bytes(), "image/jpeg", "application/jsonlines")
    assert json.loads(line)["prediction"] == pytest.approx(probabilities)
    with pytest.raises(BadImage):
        classifier.respond(b"no image", "image/png")
    with pytest.raises(UnsupportedType):
        classifier.respond(b"{}", "application/json")


def test_a_job_that_is_stopped_leaves_the_best_epoch_as_a_model(job: JobRun, scenes: Path, tmp_path: Path) -> None:
    """Its images stand beside lists."""
    prepare(job, epochs="10000", num_training_samples="4", top_k="3")
    for channel, start in (("train", 0), ("validation", 2)):
        lines = []
        for number, (label, path) in enumerate(photographs(scenes, start, 2)):
            job.put(f"{channel}/images/{path.name}", path.read_bytes())
            lines.append(f"{number}\t{label}.000000\timages/{path.name}\n")
        job.put(f"{channel}_lst/{channel}.lst", "".join(lines).encode())
        job.channel(channel, f"s3://photos/{channel}/", ContentType="application/x-image")
        job.channel(f"{channel}_lst", f"s3://photos/{channel}_lst/", ContentType="application/x-image")
    stopper = threading.Thread(target=stop_after_an_epoch, args=(job,))
    stopper.start()
    assert job.run(stop_seconds=60) == "Stopped", job.log
    stopper.join()
    log = "\n".join(job.log)
    assert "Training ended: stopped_early (the job was stopped)" in log
    assert "top_k=3 has no effect here" in log
    assert "images: train 4, valid 4" in log
    metrics = [event for event in job.events if event["kind"] == "metric"]
    assert {event["name"] for event in metrics} == {"train:accuracy", "validation:accuracy"}
    first = next(event["value"] for event in metrics if event["name"] == "validation:accuracy")
    assert f"Epoch[0] Validation-accuracy={first:.6f}" in log
    assert (job.folder / "run" / "report.html").is_file()
    check_responses(job, photographs(scenes, 6, 1)[0][1], tmp_path / "model")


def stop_after_an_epoch(job: JobRun) -> None:
    end = time.monotonic() + 60
    log = job.folder / "log.txt"
    while not (log.exists() and "Validation-accuracy" in log.read_text()) and time.monotonic() < end:
        time.sleep(0.05)
    (job.folder / "stop").touch()


def test_the_reason_of_a_failure_has_the_form_of_the_algorithm(job: JobRun) -> None:
    prepare(job, optimizer="lion")
    job.put("train/images.rec", b"")
    job.channel("train", "s3://photos/train/")
    assert job.run() == "Failed"
    assert job.reason.startswith("ClientError: optimizer lion: not one of the choices. Allowed: sgd")
    assert job.reason.endswith(", exit code: 2")


def test_missing_weights_are_named(private_job: JobRun, scenes: Path, tmp_path: Path) -> None:
    job = private_job
    prepare(job, use_pretrained_model="1")
    job.request["EnableNetworkIsolation"] = True
    job.weights = (tmp_path / "weights",)
    for channel in ("train", "validation"):
        records = (image_record(0, [float(label)], path.read_bytes()) for label, path in photographs(scenes, 0, 1))
        job.put(f"{channel}/images.rec", record_file(records))
        job.channel(channel, f"s3://photos/{channel}")
    assert job.run() == "Failed"
    assert job.reason.startswith("ClientError: use_pretrained_model=1: ")
    assert f"Looked for resnet18.safetensors in {tmp_path / 'weights'}. Put the file there" in job.reason


@pytest.mark.parametrize(
    ("files", "problem"),
    [
        ({"train_lst/a.lst": "0\t1\tmissing.jpg\n", "train/b.jpg": ""}, "imread read blank (None) image for file: "),
        ({"train_lst/a.lst": "0\t6\tb.jpg\n", "train/b.jpg": ""}, "label 6 must be a whole number from 0 to 5"),
        ({"train_lst/a.lst": "0\t1\t2\tb.jpg\n", "train/b.jpg": ""}, "it has 4 columns"),
        ({"train_lst/a.lst": "0\t1\t../../b.jpg\n", "train/b.jpg": ""}, "imread read blank (None)"),
        ({"train/b.jpg": ""}, "there is no channel train_lst"),
        ({"train/a.rec": ""}, "channel train: it has no images"),
    ],
)
def test_channels_that_cannot_be_trained_on(tmp_path: Path, files: dict[str, str], problem: str) -> None:
    write(tmp_path, files)
    with pytest.raises(BadData) as found:
        ChannelImages(folder=tmp_path, classes=6, manifests={}).write(tmp_path / "images")
    assert problem in str(found.value)


def test_an_augmented_manifest(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [{"source-ref": f"s3://photos/dogs/{n}.jpg", "class": n % 2} for n in range(3)]
    manifest = "\n".join(json.dumps(row) for row in rows)
    images = {f"{channel}/dogs/{n}.jpg": "" for channel in ("train", "validation") for n in range(3)}
    write(tmp_path, {"train/all.manifest": manifest, "validation/all.manifest": manifest, **images})
    manifests = {name: ["all.manifest", "source-ref", "class"] for name in ("train", "validation")}
    counts = ChannelImages(folder=tmp_path, classes=2, manifests=manifests).write(tmp_path / "images")
    assert counts == {"train": 3, "validation": 3}
    assert [path.name for path in sorted((tmp_path / "images" / "train" / "0").iterdir())] == [
        "00000000.jpg", "00000002.jpg"
    ]  # fmt: skip


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
