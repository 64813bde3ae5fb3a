"""Accuracy and duration of one `clearsight train` per dataset, with real images, pretrained weights and several seeds.

    python benchmarks/real_data.py [--repeats 3] [--without-fine-tuning]

Accuracies are of the test split; isic-2024 has none, so its ROC-AUC and accuracy are of the validation split. The
interval is Wilson's 95 % interval of the first seed: with 240 test images one point is noise. It takes minutes.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

from measured import machine, shared, spread, timed

from clearsight.core.statistics import wilson

FROZEN = ("--freeze", "backbone")
JOBS: dict[str, tuple[str, tuple[str, ...]]] = {
    "intel-scenes, frozen": ("intel-scenes", FROZEN),
    "dog-breeds, frozen, balanced": ("dog-breeds", (*FROZEN, "--class-weights", "balanced")),
    "isic-2024, frozen": ("isic-2024", (*FROZEN, "--label-column", "target", "--monitor", "roc_auc")),
    "cifar-10, frozen": ("cifar-10/cifar-10-batches-py", FROZEN),
    "intel-scenes, head then all": ("intel-scenes", ("--head-epochs", "2", "--epochs", "8", "--augment", "light")),
}


def train(data: str, flags: tuple[str, ...], seed: int) -> dict[str, float]:
    """Return the scores of one `clearsight train --json`, with "n" images and "seconds"."""
    weights = shared() / "weights" / "mobilenetv2_100_imagenet.safetensors"
    with tempfile.TemporaryDirectory() as folder:
        words = [sys.executable, "-m", "clearsight", "train", shared() / "data" / data, *flags, "--seed", seed]
        words += ["-m", "timm/mobilenetv2_100", "--weights", weights, "--out", f"{folder}/run", "--json"]
        done = timed(words)
        counts = json.loads(Path(folder, "run", "run.json").read_text())["data"]["counts"]
    result = json.loads(done.output)
    split = "test" if result["test"] else "valid"
    return {**result[split], "n": sum(counts[split].values()), "seconds": done.seconds}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--without-fine-tuning", action="store_true")
    args = parser.parse_args()
    print(machine())
    for name, (data, flags) in JOBS.items():
        if args.without_fine_tuning and "all" in name:
            continue
        results = [train(data, flags, seed) for seed in range(args.repeats)]
        first = results[0]
        low, high = wilson(round(first["accuracy"] * first["n"]), int(first["n"]))
        line = f"{name}: accuracy {spread([result['accuracy'] for result in results], 4)}"
        line += f", seed 0 in {low:.3f} to {high:.3f} of {first['n']}"
        for score in ("macro_f1", "roc_auc"):
            if score in first:
                line += f", {score} {spread([result[score] for result in results], 4)}"
        print(f"{line}, {spread([result['seconds'] for result in results])} s", flush=True)


if __name__ == "__main__":
    main()
