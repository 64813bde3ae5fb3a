"""Held-out loss and calibration error before and after calibration, on real images and on small subsets of them.

    python benchmarks/calibration.py [--repeats 3] [--only intel-scenes]

Each run trains a head on a frozen mobilenetv2_100 (digits: the tiny network of `clearsight quickstart`) and is
calibrated on its own validation images. Held-out images are those of the test split, or, without one and for subsets,
the images that the run did not get. "Foreign" images belong to none of the classes: 144 photographs of dogs, or 240
scenes for the model of dogs; their mean confidence should not rise. Numbers are medians over the seeds with their
range. It takes about a quarter of an hour on two cores.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from measured import machine, shared, spread

from clearsight.core.bundle import Bundle
from clearsight.core.dataset import Dataset
from clearsight.core.probabilities import Floats, calibrated, confidence, softmax
from clearsight.core.recipe import DataSection
from clearsight.training.metrics import Ints, cross_entropy, expected_calibration_error
from clearsight.workflow.prepare.datasets import list_dataset
from clearsight.workflow.quickstart import BASE, write_digits
from clearsight.workflow.run.evaluation import measure
from clearsight.workflow.train import train

SETTINGS: dict[str, Any] = {"epochs": 30, "batch_size": 32, "lr": 1e-3, "debug": "off", "profile": "off"}
QUICKSTART = ("model", "weights", "image_size", "epochs", "batch_size", "lr", "weight_decay")
DOGS, SCENES = "dog-breeds", "intel-scenes"


@dataclass(frozen=True)
class Job:
    """A dataset, how many of its images a run gets (None: all), and images of classes that it does not have."""

    data: str
    limit: int | None
    foreign: str = DOGS
    settings: tuple[tuple[str, Any], ...] = ()


ISIC = (("label_column", "target"),)
JOBS = (
    Job(SCENES, None),
    Job(SCENES, 60),
    Job(DOGS, None, SCENES),
    Job(DOGS, 120, SCENES),  # 24 classes
    Job("isic-2024", 600, settings=ISIC),  # without a test split: the other images are held out
    Job("isic-2024", 60, settings=ISIC),
    Job("digits", None),
    Job("digits", 60),
)


@dataclass(frozen=True)
class Result:
    """Calibration of one run. Each pair of numbers is before and after it. held_out: number of images."""

    temperature: float
    images: int
    errors: int
    held_out: int
    loss: tuple[float, float]
    error: tuple[float, float]
    foreign: tuple[float, float]


def run(job: Job, seed: int, digits: Path) -> Result:
    """Train once, and measure the bundle with its temperature and with 1."""
    source = digits if job.data == "digits" else shared() / "data" / job.data
    settings: dict[str, Any] = {**SETTINGS, **dict(job.settings), "seed": seed, "limit": job.limit}
    if job.data == "digits":
        settings = {**settings, **{name: BASE.flat()[name] for name in QUICKSTART}}
    else:
        weights = shared() / "weights" / "mobilenetv2_100_imagenet.safetensors"
        settings |= {"model": "timm/mobilenetv2_100", "weights": str(weights), "freeze": "backbone"}
    with tempfile.TemporaryDirectory() as folder:
        trained = train(source, out=Path(folder) / "run", **settings)
        bundle, section = Bundle.open(trained.bundle), trained.recipe.data
        held_out = measure(bundle, unused(source, section, seed), section=section)
        foreign = measure(bundle, foreign_images(job.foreign)).logits
    return result(bundle.temperature, bundle.calibration, (held_out.logits, held_out.labels), foreign)


def result(
    temperature: float, calibration: Mapping[str, float], held_out: tuple[Floats, Ints], foreign: Floats
) -> Result:
    """Return what a calibration changes. held_out: logits (N, C) and labels (N,). foreign: logits (M, C)."""
    logits, labels = held_out
    served = calibrated(logits, temperature, calibration)
    foreign_served = calibrated(foreign, temperature, calibration)
    return Result(
        temperature=temperature,
        images=int(calibration["images"]),
        errors=int(calibration["errors"]),
        held_out=len(labels),
        loss=(cross_entropy(logits, labels), cross_entropy(served, labels)),
        error=(
            expected_calibration_error(softmax(logits), labels),
            expected_calibration_error(softmax(served), labels),
        ),
        foreign=(float(confidence(foreign).mean()), float(confidence(foreign_served).mean())),
    )


def unused(source: Path, section: DataSection, seed: int) -> Dataset:
    """Return the images of the test split, or all labelled ones of a dataset without it, that a run did not get."""
    everything = list_dataset(source, section.model_copy(update={"limit": None}), seed)
    given = list_dataset(source, section, seed)
    test = everything.split("test")
    used = {sample.id for split in ("train", "valid") for sample in given.split(split).samples}
    labelled = [*everything.split("train").samples, *everything.split("valid").samples]
    samples = test.samples or tuple(replace(s, split="test") for s in labelled if s.id not in used)
    return replace(everything, samples=tuple(samples))


def foreign_images(name: str) -> Dataset:
    """Return the test images of another dataset; only their logits are used."""
    return list_dataset(shared() / "data" / name, DataSection(), 0).split("test")


def row(job: Job, results: list[Result]) -> str:
    """Return a row of the table in docs/bundle.md."""
    change = [100 * (result.loss[1] / result.loss[0] - 1) for result in results]
    images = f"{results[0].images} ({', '.join(str(result.errors) for result in results)})"
    pairs = [
        " → ".join(f"{np.median([getattr(result, name)[i] for result in results]):.3f}" for i in (0, 1))
        for name in ("loss", "error", "foreign")
    ]
    worst = max(result.foreign[1] - result.foreign[0] for result in results)
    name = job.data if job.limit is None else f"{job.data}, {job.limit} images"
    temperatures = spread([result.temperature for result in results], 2)
    cells = [name, images, temperatures, str(results[0].held_out), pairs[0], f"{max(change):+.1f} %", *pairs[1:]]
    return f"| {' | '.join([*cells, f'{worst:+.3f}'])} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", default="", help="datasets whose name contains this")
    args = parser.parse_args()
    print(machine())
    print("| data | validation images (errors) | T | held out | loss | worst change | ECE | foreign | worst rise |")
    print("|---|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        digits = write_digits(Path(folder) / "digits")
        for job in JOBS:
            if args.only in job.data:
                results = [run(job, seed, digits) for seed in range(args.repeats)]
                print(row(job, results), flush=True)


if __name__ == "__main__":
    main()
