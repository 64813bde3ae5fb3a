"""Label noise and single wrong labels found by features, on real images whose labels are exchanged.

    python benchmarks/label_errors.py [--seeds 5] [--image-size 128]

Of three data sets a share of the labels is replaced by another class, drawn evenly; features are those of
mobilenetv2_100. "share" is that of contradicted labels among the surest third, "found" the runs called noisy,
"AUC" how well confident learning's order separates exchanged labels from the others (those not listed come last), and
"top 10" the share of exchanged labels among the ten worst. Clean data have wrong labels of their own, which count as
right here. Medians over the seeds with their range; a run on clean data takes a random nine tenths of the images.
A minute on two cores.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from measured import machine, shared, spread
from sklearn.metrics import roc_auc_score

from clearsight.core.dataset import Dataset
from clearsight.core.label_check import LabelCheck
from clearsight.core.recipe import Recipe
from clearsight.data.scan import drop_bad_images
from clearsight.workflow.paths import Paths
from clearsight.workflow.prepare.datasets import list_dataset, quiet, scan_dataset
from clearsight.workflow.run.label_check import check_by_features

DATA: dict[str, dict[str, Any]] = {"intel-scenes": {}, "dog-breeds": {}, "isic-2024": {"label_column": "target"}}
NOISE = (0.0, 0.2, 0.4)


def exchanged(data: Dataset, noise: float, seed: int) -> tuple[Dataset, set[str]]:
    """Return the data with a share of the labels replaced by another class, and the ids of those images."""
    rng, count = np.random.default_rng(seed), len(data.classes)
    keep = rng.permutation(len(data))[: len(data) * 9 // 10] if noise == 0 else np.arange(len(data))
    samples = [data.samples[row] for row in sorted(keep)]
    wrong = set(rng.permutation(len(samples))[: round(noise * len(samples))].tolist())
    labels = [
        (sample.label + int(rng.integers(1, count))) % count
        if row in wrong and sample.label is not None
        else sample.label
        for row, sample in enumerate(samples)
    ]
    changed = tuple(replace(sample, label=label) for sample, label in zip(samples, labels, strict=True))
    return replace(data, samples=changed), {samples[row].id for row in wrong}


def scores(check: LabelCheck, data: Dataset, wrong: set[str]) -> tuple[float, float]:
    """Return AUC and the share of exchanged labels among the ten worst; NaN without exchanged labels."""
    if not wrong:
        return float("nan"), float("nan")
    margins = {suspect.path: suspect.margin for suspect in check.suspects}
    truth = [sample.id in wrong for sample in data.samples]
    auc = roc_auc_score(truth, [-margins.get(sample.id, 0.0) for sample in data.samples])
    return float(auc), sum(suspect.path in wrong for suspect in check.suspects[:10]) / 10


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--image-size", type=int, default=128)
    options = parser.parse_args()
    print(f"{machine()}; {options.image_size} px\n")
    print("| data | exchanged | share among the surest third | found | AUC | top 10 |\n|---|---|---|---|---|---|")
    weights = str(shared() / "weights" / "mobilenetv2_100_imagenet.safetensors")
    with tempfile.TemporaryDirectory() as folder:
        paths = Paths(cache=Path(folder), weights=())
        for name, settings in DATA.items():
            recipe = Recipe().replace(weights=weights, image_size=options.image_size, **settings)
            listed = list_dataset(shared() / "data" / name, recipe.data, 0)
            good = drop_bad_images(listed, scan_dataset(listed, recipe.data, paths), "skip")
            good = good.only(lambda sample: sample.label is not None)
            check_by_features(good, recipe, paths, quiet)  # fills the cache
            for noise in NOISE:
                rows = []
                for seed in range(options.seeds):
                    data, wrong = exchanged(good, noise, seed)
                    check = check_by_features(data, recipe, paths, quiet).labels
                    rows.append((check.share, check.noisy, *scores(check, data, wrong)))
                share, found, auc, top = zip(*rows, strict=True)
                ranked = f"{spread(auc, 2)} | {spread(top, 2)}" if noise else "- | -"
                print(
                    f"| {name} | {noise:.0%} | {spread(share, 2)} | {sum(found)} of {len(found)} | {ranked} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
