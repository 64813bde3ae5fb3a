"""Overhead of the debugger: training without it, with `light`, with `full`, and with whole tensors saved by hand.

    python benchmarks/debugger_overhead.py [--device cuda] [--blocks 5] [--batch 32] [--threads N] [--depth light full]
    python benchmarks/debugger_overhead.py --network tiny --size 32 --batch 64

It trains resnet18, or the network `tiny`, with random weights on random images (224 px), by SGD with momentum. Each
arm trains its own copy on the same batches; the arms take turns step by step, in an order that rotates. A block is 10
steps, of which one is saved in every arm with a hook: the hook gets a plan of 500 steps, for which light saves every
tenth (more seldom in longer runs), as full does for every plan. The arm `raw` does what a loop can do without a
debugger: it writes all weights, gradients and layer outputs of every tenth step to .npy files before it continues.
The overhead of an arm is its time for a block over that of the plain arm for the same block, in percent, by the clock
and by processor time, which other work on the machine disturbs less. The arm `again` is a second plain arm: what it
shows is the error of the measurement.
"""

from __future__ import annotations

import argparse
import copy
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from measured import machine, spread
from torch import nn
from torchvision.models import resnet18

from clearsight.debugger.hook import Hook
from clearsight.models.families.tiny import Tiny

BLOCK = 10
PLANNED = 500
ARMS = ("again", "light", "full", "raw")  # beside the plain one
_CLASSES = 1000


class Arm:
    """One way to train, with its own copy of the model."""

    def __init__(self, name: str, model: nn.Module, folder: Path) -> None:
        self.name, self.model, self.folder = name, copy.deepcopy(model), folder
        self.optimizer = torch.optim.SGD(self.model.parameters(), 0.01, momentum=0.9)
        self.loss = nn.CrossEntropyLoss()
        self.hook: Hook | None = None
        if name in ("light", "full"):
            self.hook = Hook(folder / name, save=name, steps=PLANNED, rules="none", quiet=True)
            self.hook.watch(self.model, self.loss, self.optimizer)

    def step(self, number: int, images: torch.Tensor, labels: torch.Tensor) -> tuple[float, float]:
        """Train one step; return its seconds by the clock and its processor seconds over all threads."""
        wait(images.device)
        clock, processor = time.perf_counter(), time.process_time()
        with whole_tensors(self, number) if self.name == "raw" and number % BLOCK == 0 else nothing():
            self.optimizer.zero_grad()
            self.loss(self.model(images), labels).backward()
            self.optimizer.step()
        wait(images.device)
        return time.perf_counter() - clock, time.process_time() - processor

    def close(self) -> None:
        if self.hook is not None:
            self.hook.close()
            if self.hook.failure is not None:
                raise self.hook.failure


@contextmanager
def nothing() -> Iterator[None]:
    yield


@contextmanager
def whole_tensors(arm: Arm, number: int) -> Iterator[None]:
    """Save weights before the step, layer outputs during it and gradients after it, each to a file at once."""
    folder = arm.folder / f"raw-{number}"
    folder.mkdir()

    def save(name: str, tensor: torch.Tensor) -> None:
        np.save(folder / f"{name}.npy", tensor.detach().cpu().numpy())

    def save_output(name: str) -> Callable[..., None]:
        return lambda module, args, output: save(f"output-{name}", output)

    leaves = [(name, module) for name, module in arm.model.named_modules() if not list(module.children())]
    hooks = [module.register_forward_hook(save_output(name)) for name, module in leaves]
    for name, parameter in arm.model.named_parameters():
        save(f"weight-{name}", parameter)
    yield
    for name, parameter in arm.model.named_parameters():
        if parameter.grad is not None:
            save(f"gradient-{name}", parameter.grad)
    for hook in hooks:
        hook.remove()
    for file in folder.iterdir():  # a block writes 1 GB: without this, later blocks would fill the disk
        file.unlink()


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--blocks", type=int, default=5)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--threads", type=int, default=0, help="of torch; 0 for its default")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--network", default="resnet18", choices=("resnet18", "tiny"))
    parser.add_argument("--depth", nargs="+", default=list(ARMS), choices=ARMS)
    args = parser.parse_args()
    device = torch.device(args.device)
    if args.threads:
        torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    print(f"{machine()}; {torch.cuda.get_device_name(device) if device.type == 'cuda' else 'no GPU used'}")
    model = (resnet18() if args.network == "resnet18" else Tiny(_CLASSES)).to(device)
    images = torch.randn(args.batch, 3, args.size, args.size, device=device)
    labels = torch.randint(0, _CLASSES, (args.batch,), device=device)
    with tempfile.TemporaryDirectory() as folder:
        arms = [Arm(name, model, Path(folder)) for name in ("plain", *args.depth)]
        seconds = np.zeros((len(arms), args.blocks * BLOCK, 2))
        warm = [arm.step(1, images, labels) for arm in arms]  # step 1 is saved too, and not counted because it warms up
        for place in range(args.blocks * BLOCK):
            for turn in range(len(arms)):
                index = (turn + place) % len(arms)
                seconds[index, place] = arms[index].step(place + 2, images, labels)
            if sys.stderr.isatty():
                print(f"\r{place + 1} of {args.blocks * BLOCK} steps", end="", file=sys.stderr)
        for arm in arms:
            arm.close()
    report([arm.name for arm in arms], seconds, args)
    print(f"(first steps, not counted: {', '.join(f'{value[0]:.2f}' for value in warm)} s)")


def report(names: list[str], seconds: np.ndarray, args: argparse.Namespace) -> None:
    """Print the overhead of each arm. seconds: (arms, steps, 2), clock and processor; the first arm is plain."""
    blocks = seconds.reshape(len(names), args.blocks, BLOCK, 2).sum(2)
    print(f"{args.network}, batch {args.batch}, {args.size} px, {torch.get_num_threads()} threads, {args.device}")
    print(f"plain: {spread(list(1000 * blocks[0, :, 0] / BLOCK))} ms per step, blocks of {BLOCK} steps")
    saved = np.arange(2, seconds.shape[1] + 2) % BLOCK == 0
    for name, arm_blocks, arm_seconds in zip(names[1:], blocks[1:], seconds[1:], strict=True):
        for column, kind in enumerate(("clock", "processor")):
            extra = 1000 * (arm_seconds - seconds[0])[:, column]
            print(
                f"{name}, {kind}: overhead {spread(list(100 * (arm_blocks / blocks[0] - 1)[:, column]), 2)} %;"
                f" a saved step {np.median(extra[saved]):+.1f} ms, another {np.median(extra[~saved]):+.2f} ms (medians)"
            )


if __name__ == "__main__":
    main()
