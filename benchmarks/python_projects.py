"""Five kinds of projects through Python, each as short as it can be: does every call that they need exist and work?

    python benchmarks/python_projects.py --out FOLDER [--only scenes,dogs,weights,lesions,cifar]

Networks are untrained and images small, so that each takes less than a minute; accuracies mean nothing here. Charts are
written as HTML to FOLDER. Prints the seconds of each project.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from pathlib import Path

import clearsight

DATA = Path(os.environ.get("CLEARSIGHT_SHARED", "shared")) / "data"


def scenes(out: Path) -> None:
    """EfficientNet on scenes: four settings tuned, then the loss of the best trial by step."""
    study = clearsight.tune(
        DATA / "intel-scenes",
        out=out / "study",
        tune="lr,batch_size",
        space={"weight_decay": "log(1e-4,1e-1)", "dropout": "float(0,0.5)", "batch_size": [8, 16]},
        search="random",
        trials=4,
        model="efficientnet_b0",
        weights="none",
        image_size=32,
        limit=90,
        epochs=1,
    )
    run = study.best_run
    assert run is not None
    assert set(study.plan.space.names) == {"lr", "batch_size", "weight_decay", "dropout"}
    run.plot("loss", by="step").write_html(out / "loss.html")


def dogs(out: Path) -> None:
    """AlexNet with a head of three hidden layers on dogs."""
    run = clearsight.train(
        DATA / "dog-breeds",
        out=out / "run",
        model="alexnet",
        weights="none",
        head="750,500,250",
        image_size=64,
        limit=200,
        epochs=1,
    )
    assert run.recipe.model.head == (750, 500, 250)
    run.plot("confusion").write_html(out / "confusion.html")


def weights(out: Path) -> None:
    """ResNet-50 with class weights, the importance of the settings, and two labelled images."""
    study = clearsight.tune(
        DATA / "intel-scenes",
        out=out / "study",
        tune="lr",
        metric="loss",
        search="random",
        trials=5,
        model="resnet50",
        weights="none",
        class_weights="balanced",
        image_size=32,
        limit=60,
        epochs=1,
    )
    study.plot("importance").write_html(out / "importance.html")
    audit = clearsight.data(DATA / "intel-scenes", limit=60, progress=False)
    audit.plot("images", count=2).write_html(out / "images.html")


def lesions(out: Path) -> None:
    """Lesions in HDF5 with a table, then predictions for the HDF5 without labels."""
    run = clearsight.train(
        DATA / "isic-2024", out=out / "run", model="tiny", weights="none", image_size=32, limit=120, epochs=1
    )
    unlabelled = DATA / "isic-2024" / "test-image.hdf5"
    found = clearsight.predict(run, unlabelled, csv=out / "predictions.csv", embeddings=True)
    assert len(found) == 3
    assert found.embeddings is not None
    # The data have no labelled test images.
    evaluation = clearsight.evaluate(run, DATA / "isic-2024", split="valid", progress=False)
    evaluation.plot("calibration").write_html(out / "calibration.html")


def cifar(out: Path) -> None:
    """ResNet-34 on CIFAR batches, a metric of each epoch."""
    run = clearsight.train(
        DATA / "cifar-10", out=out / "run", model="resnet34", weights="none", image_size=32, limit=200, epochs=2
    )
    run.plot("macro_f1").write_html(out / "macro_f1.html")


PROJECTS: dict[str, Callable[[Path], None]] = {
    project.__name__: project for project in (scenes, dogs, weights, lesions, cifar)
}


def main() -> None:
    """Run the projects and print their seconds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", default=",".join(PROJECTS))
    arguments = parser.parse_args()
    for name in arguments.only.split(","):
        folder = arguments.out / name
        folder.mkdir(parents=True, exist_ok=True)
        start = time.perf_counter()
        PROJECTS[name](folder)
        print(f"{name:<8} {time.perf_counter() - start:6.1f} s", flush=True)


if __name__ == "__main__":
    main()
