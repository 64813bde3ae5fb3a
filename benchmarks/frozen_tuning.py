"""Tuning a frozen backbone on skin lesions: clearsight tune against a plain script, and against Optuna alone.

    python benchmarks/frozen_tuning.py [--repeats 3]

1. mobilenetv2_100 with real weights, 200 images of isic-2024 (160 to train on, 40 to compare by), 8 trials of 5
   epochs over learning rate, batch size and weight decay. Both arms run in full, as whole processes with an empty
   cache, imports included. clearsight also scans every image, makes a model of the best trial and writes the report.
   The plain script is benchmarks/plain_tuning.py.
2. The real size: all 800 and 200 images, 20 trials, epochs from 5 to 40 as well, with mobilenetv2_100 and with
   resnet50 (random weights: timing only). clearsight runs in full; the plain script is extrapolated from its seconds
   per image, measured in an epoch of 200, times the images that clearsight's trials used.
3. The tuning alone: clearsight from its first epoch to its last result, proposals and storage included, against
   Optuna over the same features in memory, one head after another (plain_tuning.py --features).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from measured import machine, shared, spread, timed

HERE = Path(__file__).parent
REAL = "mobilenetv2_100_imagenet.safetensors"
SPACE = ("lr=log(1e-5,1e-1)", "batch_size=[32,64,128,256,512]", "weight_decay=log(1e-6,1e-1)")
EPOCHS = "epochs=int(5,40)"


@dataclass
class Tuned:
    """A study of clearsight: seconds of the whole process, of the tuning alone, and its JSON."""

    seconds: float
    tuning_seconds: float
    study: dict[str, Any]

    @property
    def epochs(self) -> int:
        return sum(trial["epochs"] for trial in self.study["trials"])


def folders(target: Path, train: int, valid: int) -> Path:
    """Write images of isic-2024 as class folders for the plain script, as many of each class; return the folder."""
    source = shared() / "data" / "isic-2024"
    for split, name, count in (("train", "train_split", train), ("valid", "val_split", valid)):
        rows = (source / f"{name}.csv").read_text().splitlines()[1:]
        chosen = {"0": [], "1": []}
        for row in rows:
            key, label = row.split(",")[:2]
            chosen[label.strip()].append(key)
        with h5py.File(source / f"{name}-image.hdf5") as images:
            for label, keys in chosen.items():
                folder = target / split / label
                folder.mkdir(parents=True)
                for key in keys[: count // 2]:
                    (folder / f"{key}.jpg").write_bytes(images[key][()])
    return target


def tune(
    data: Path, model: str, weights: str, trials: int, space: tuple[str, ...], options: list[str], cache: Path
) -> Tuned:
    """Run `clearsight tune`."""
    with tempfile.TemporaryDirectory() as fresh:
        name = f"timm/{model}" if weights else model
        words = [sys.executable, "-m", "clearsight", "tune", data, "-m", name, "--weights", weights or "none"]
        words += [
            "--freeze",
            "backbone",
            "--metric",
            "roc_auc",
            "--trials",
            trials,
            "--out",
            f"{fresh}/study",
            "--json",
        ]
        words += [word for text in space for word in ("--space", text)] + options
        environ = {**os.environ, "CLEARSIGHT_CACHE": str(cache)}
        start = time.perf_counter()
        process = subprocess.Popen(
            [*map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environ
        )
        assert process.stderr is not None
        assert process.stdout is not None
        first = last = 0.0
        for line in process.stderr:
            if '"event": "epoch"' in line and not first:
                first = time.perf_counter()
            if '"event": "result"' in line:
                last = time.perf_counter()
        study = json.loads(process.stdout.read())
        process.wait()
        return Tuned(time.perf_counter() - start, last - first, study)


def run_plain(data: Path, model: str, weights: str, *options: object) -> tuple[float, dict[str, Any]]:
    """Run the plain script; return the seconds of the whole process, and its JSON."""
    words = [sys.executable, HERE / "plain_tuning.py", data, "--model", model, "--weights", weights, *options]
    done = timed(words)
    return done.seconds, json.loads(done.output)


def small(repeats: int, weights: str) -> None:
    """Both arms in full."""
    with tempfile.TemporaryDirectory() as folder:
        data = folders(Path(folder) / "isic", 160, 40)
        clearsight, plain, best = [], [], [[], []]
        for seed in range(repeats):
            with tempfile.TemporaryDirectory() as cache:
                tuned = tune(
                    data, "mobilenetv2_100", weights, 8, SPACE, ["--epochs", "5", "--seed", str(seed)], Path(cache)
                )
            seconds, output = run_plain(data, "mobilenetv2_100", weights, "--trials", 8, "--epochs", 5, "--seed", seed)
            clearsight.append(tuned.seconds)
            plain.append(seconds)
            best[0].append(tuned.study["best"]["value"])
            best[1].append(output["best"])
    ratios = [b / a for a, b in zip(clearsight, plain, strict=True)]
    print(f"200 images, 8 trials of 5 epochs: plain {spread(plain)} s, clearsight {spread(clearsight)} s")
    print(f"  times faster: {spread(ratios)}")
    print(f"  best ROC-AUC: plain {spread(best[1], 3)}, clearsight {spread(best[0], 3)}")
    print(f"    standard error of one such score on 20 and 20 images: {standard_error(np.mean(best), 20, 20):.3f}")


def standard_error(area: float, ones: int, zeros: int) -> float:
    """Return that of an area under the ROC curve.

    Source: Hanley & McNeil 1982, "The Meaning and Use of the Area...", eq. 1.
    """
    above, twice = area / (2 - area), 2 * area**2 / (1 + area)
    variance = area * (1 - area) + (ones - 1) * (above - area**2) + (zeros - 1) * (twice - area**2)
    return float(np.sqrt(variance / (ones * zeros)))


def real_size(repeats: int, model: str, weights: str) -> None:
    """Run clearsight in full; extrapolate the plain script from its seconds per image."""
    source = shared() / "data" / "isic-2024"
    with tempfile.TemporaryDirectory() as folder:
        sample = folders(Path(folder) / "isic", 160, 40)
        one_epoch_seconds, one_epoch = run_plain(sample, model, weights, "--trials", 1, "--epochs", 1)
        _, three_epochs = run_plain(sample, model, weights, "--trials", 1, "--epochs", 3)
        image_seconds = (three_epochs["seconds"] - one_epoch["seconds"]) / 2 / 200
        start_seconds = one_epoch_seconds - one_epoch["seconds"]
    clearsight, slower, tuning, best = [], [], [], []
    for seed in range(repeats):
        with tempfile.TemporaryDirectory() as cache:
            cold = tune(source, model, weights, 20, (*SPACE, EPOCHS), ["--seed", str(seed)], Path(cache))
            warm = tune(source, model, weights, 20, (*SPACE, EPOCHS), ["--seed", str(seed)], Path(cache))
            optuna = tune_over_features(Path(cache), seed)
        clearsight.append(cold.seconds)
        slower.append((start_seconds + cold.epochs * 1000 * image_seconds) / cold.seconds)
        tuning.append((warm.tuning_seconds, optuna["seconds"], warm.epochs, optuna["epochs"]))
        best.append((warm.study["best"]["value"], optuna["best"]))
    print(f"{model}, 800 + 200 images, 20 trials of 5 to 40 epochs: clearsight {spread(clearsight)} s")
    print(f"  plain, from {1000 * image_seconds:.0f} ms an image: times slower {spread(slower, 0)}")
    ratios = [optuna_seconds / seconds for seconds, optuna_seconds, _, _ in tuning]
    per_epoch = [
        (optuna_seconds / optuna_epochs) / (seconds / epochs)
        for seconds, optuna_seconds, epochs, optuna_epochs in tuning
    ]
    print(
        f"  the tuning alone: clearsight {spread([row[0] for row in tuning], 2)} s, "
        f"Optuna over the same features {spread([row[1] for row in tuning], 2)} s"
    )
    print(f"    times faster {spread(ratios)}; by epoch of a head {spread(per_epoch)}")
    print(f"    best ROC-AUC: Optuna {spread([b for _, b in best], 3)}, clearsight {spread([a for a, _ in best], 3)}")


def tune_over_features(cache: Path, seed: int) -> dict[str, Any]:
    """Run Optuna over the features in a cache; return the JSON of the plain script."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder)
        for entry in (cache / "features").glob("*/manifest.json"):
            facts = json.loads(entry.read_text())
            values = np.fromfile(entry.parent / "features.bin", dtype=facts["dtype"]).reshape(facts["shape"])[0]
            split = "train" if len(values) == 800 else "valid"
            np.save(target / f"{split}.npy", values.astype(np.float32))
        for split, name in (("train", "train_split"), ("valid", "val_split")):
            rows = (shared() / "data" / "isic-2024" / f"{name}.csv").read_text().splitlines()[1:]
            labels = np.array([int(row.split(",")[1]) for row in sorted(rows)])  # clearsight sorts images by name
            np.save(target / f"{split}_labels.npy", labels)
        _, output = run_plain(target, "none", "", "--features", target, "--trials", 20, "--seed", seed)
    return output


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", choices=("small", "mobilenetv2", "resnet50"))
    args = parser.parse_args()
    weights = str(shared() / "weights" / REAL)
    print(machine())
    if args.only in (None, "small"):
        small(args.repeats, weights)
    if args.only in (None, "mobilenetv2"):
        real_size(args.repeats, "mobilenetv2_100", weights)
    if args.only in (None, "resnet50"):
        real_size(args.repeats, "resnet50", "")


if __name__ == "__main__":
    main()
