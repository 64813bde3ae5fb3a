"""Measure LabelNoise on weak networks: how often it speaks of clean labels, and how often it finds random ones.

    python benchmarks/label_noise.py [--seeds 2] [--steps 100 300]

Four small networks, from softmax regression on 8 x 8 pixels to two convolutions, train on small real images with labels
of which a share was exchanged for another class, watched by the two lines of the README. Such networks are wrong about
half of their images also where all labels are right, so that their confidence alone says nothing about the labels.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from measured import machine, shared
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import clearsight
from clearsight.debugger.rules.label_noise import LabelNoise
from clearsight.debugger.storage.saved_run import SavedRun
from clearsight.testing.faults.loops.data import load
from clearsight.testing.faults.loops.setup import LoopSettings
from clearsight.testing.faults.loops.table import share

DATA = (("intel-scenes", 24, 480), ("intel-scenes", 40, 640), ("digits", 28, 640))  # name, pixels, training images
NOISE = (0.0, 0.2, 0.4)  # share of labels that are another class
_POOLED = 8  # pixels


def pooled(side: int) -> tuple[nn.Module, int]:
    """Return a layer that shrinks images to 8 x 8 pixels, and how many numbers it leaves."""
    return nn.Sequential(nn.AdaptiveAvgPool2d(_POOLED), nn.Flatten()), 3 * _POOLED**2


def softmax_regression(side: int, classes: int) -> nn.Module:
    layer, size = pooled(side)
    return nn.Sequential(layer, nn.Linear(size, classes))


def perceptron(side: int, classes: int) -> nn.Module:
    layer, size = pooled(side)
    return nn.Sequential(layer, nn.Linear(size, 64), nn.ReLU(), nn.Linear(64, classes))


def one_convolution(side: int, classes: int) -> nn.Module:
    head = (nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(128, classes))
    return nn.Sequential(nn.Conv2d(3, 8, 3, 2), nn.ReLU(), *head)


def two_convolutions(side: int, classes: int) -> nn.Module:
    layers = (nn.Conv2d(3, 16, 3, 2), nn.ReLU(), nn.Conv2d(16, 32, 3, 2), nn.ReLU())
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(128, classes))


NETWORKS: tuple[Callable[[int, int], nn.Module], ...] = (
    softmax_regression,
    perceptron,
    one_convolution,
    two_convolutions,
)


def images(name: str, side: int, size: int, seed: int) -> tuple[Tensor, Tensor]:
    """Return training images (N, 3, side, side) float32 in 0 to 1 and labels (N,)."""
    part = load(name, side, LoopSettings(train_size=size, batch_size=1), "", seed, shared()).train
    pixels = torch.from_numpy(np.stack([np.asarray(image) for image in part.pixels])).permute(0, 3, 1, 2) / 255
    return pixels, torch.from_numpy(np.asarray(part.labels, dtype=np.int64))


def found(pixels: Tensor, labels: Tensor, model: nn.Module, steps: int) -> bool:
    """Train a network and return True if LabelNoise is found."""
    criterion, optimizer = nn.CrossEntropyLoss(), torch.optim.Adam(model.parameters(), 3e-3)
    loader = DataLoader(TensorDataset(pixels, labels), batch_size=32, shuffle=True)
    with tempfile.TemporaryDirectory() as folder:
        hook = clearsight.Hook(folder, quiet=True, rules="none").watch(model, loss=criterion, optimizer=optimizer)
        for _ in range(round(steps / len(loader))):
            for batch, classes in loader:
                optimizer.zero_grad()
                criterion(model(batch), classes).backward()
                optimizer.step()
        hook.close()
        return any(finding.found for finding in LabelNoise().check(SavedRun(Path(folder)).tape()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--steps", type=int, nargs="+", default=[100, 300])
    args = parser.parse_args()
    torch.set_num_threads(1)
    print(machine())
    verdicts: dict[tuple[float, int], list[bool]] = defaultdict(list)
    for name, side, size in DATA:
        for seed in range(args.seeds):
            pixels, labels = images(name, side, size, seed)
            classes = int(labels.max()) + 1
            for noise in NOISE:
                for network in NETWORKS:
                    for steps in args.steps:
                        torch.manual_seed(seed)
                        wrong = (torch.rand(len(labels)) < noise) * torch.randint(1, classes, (len(labels),))
                        model = network(side, classes)
                        verdicts[noise, steps].append(found(pixels, (labels + wrong) % classes, model, steps))
                        print(name, side, seed, noise, network.__name__, steps, verdicts[noise, steps][-1], flush=True)
    for (noise, steps), outcomes in sorted(verdicts.items()):
        print(f"noise of {noise:.0%}, about {steps} steps: found in {share(sum(outcomes), len(outcomes))}")


if __name__ == "__main__":
    main()
