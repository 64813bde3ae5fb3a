"""Ten epochs with a frozen backbone: clearsight against the script most people write, whole processes, same machine.

    python benchmarks/frozen_epochs.py [--repeats 3]

Both arms get the same 300 training, 60 validation and 60 test images (intel-scenes), the same epochs, learning rate
and batch size, and start from nothing: no cache, imports included. clearsight also scans the images, exports the
model to ONNX, measures it on the test split and writes the report. The plain arm is benchmarks/plain_script.py.
resnet50 has random weights (timing only: its accuracy means nothing); mobilenetv2 has real ones, so its accuracy does.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
from pathlib import Path

from measured import Timed, machine, shared, spread, timed

HERE = Path(__file__).parent
PER_CLASS = {"train": 50, "valid": 10}


def subset(target: Path) -> Path:
    """300 / 60 / 60 images of intel-scenes as class folders."""
    source = shared() / "data" / "intel-scenes"
    for folder in sorted((source / "seg_train").iterdir()):
        files, start = sorted(folder.iterdir()), 0
        for split, count in PER_CLASS.items():
            copy(files[start : start + count], target / split / folder.name)
            start += count
        copy(sorted((source / "seg_test" / folder.name).iterdir())[:10], target / "test" / folder.name)
    return target


def copy(files: list[Path], folder: Path) -> None:
    folder.mkdir(parents=True)
    for file in files:
        shutil.copy(file, folder)


def plain(data: Path, model: str, weights: str, seed: int) -> tuple[Timed, float]:
    words = [sys.executable, HERE / "plain_script.py", data, "--model", model, "--weights", weights, "--seed", seed]
    process = timed(words)
    return process, json.loads(process.output)["test"]


def with_clearsight(data: Path, model: str, weights: str, seed: int) -> tuple[Timed, float]:
    with tempfile.TemporaryDirectory() as fresh:
        name = f"timm/{model}" if weights else model
        words = [sys.executable, "-m", "clearsight", "train", data, "-m", name, "--weights", weights or "none"]
        words += [
            "--freeze",
            "backbone",
            "--epochs",
            10,
            "--lr",
            1e-3,
            "--seed",
            seed,
            "--out",
            f"{fresh}/run",
            "--json",
        ]
        process = timed([*words], {**os.environ, "CLEARSIGHT_CACHE": f"{fresh}/cache"})
        return process, json.loads(process.output)["test"]["accuracy"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    real = str(shared() / "weights" / "mobilenetv2_100_imagenet.safetensors")
    print(machine())
    with tempfile.TemporaryDirectory() as folder:
        data = subset(Path(folder) / "scenes")
        for model, weights in (("resnet50", ""), ("mobilenetv2_100", real)):
            rows = [
                (with_clearsight(data, model, weights, seed), plain(data, model, weights, seed))
                for seed in range(args.repeats)
            ]
            clearsight_seconds, plain_seconds = ([row[arm][0].seconds for row in rows] for arm in (0, 1))
            scores = [[row[arm][1] for row in rows] for arm in (0, 1)]
            print(f"{model}: plain script {spread(plain_seconds)} s, clearsight {spread(clearsight_seconds)} s")
            ratios = [slow / fast for fast, slow in zip(clearsight_seconds, plain_seconds, strict=True)]
            print(f"  times faster: {spread(ratios)}")
            print(
                f"  test accuracy: plain {statistics.mean(scores[1]):.3f}, clearsight {statistics.mean(scores[0]):.3f}"
            )


if __name__ == "__main__":
    main()
