"""Defaults of other libraries as plain torch loops: arms of benchmarks/default_recipe.py.

fastai, timm's train script and AutoGluon are not installed here, so that none of them runs. Each loop is written anew
after the hyperparameters that the library documents; what it leaves out is said where it is left out. All use the same
network and weights (timm's mobilenetv2_100), 224 pixels, and the test images once, at the end.

    python benchmarks/default_loops.py fastai DATA --weights FILE --seed 0
"""

from __future__ import annotations

import argparse
import copy
import json
import math
from collections.abc import Callable, Sequence
from typing import Any

import timm
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Subset
from torchvision import transforms as T
from torchvision.datasets import ImageFolder

Rate = Callable[[float], float]  # share of the training that is done, in [0, 1] -> factor of the peak rate
_NORMAL = [T.ToTensor(), T.Normalize((0.5,) * 3, (0.5,) * 3)]  # what these weights expect
_CENTRE = T.Compose([T.Resize(256), T.CenterCrop(224), *_NORMAL])


def one_cycle(start: float, div: float) -> Rate:
    """Return a rate that rises from 1/div to 1 over the first `start` of the steps, then falls, by cosines."""

    def factor(done: float) -> float:
        if done < start:
            return 1 / div + (1 - 1 / div) * (1 - math.cos(math.pi * done / start)) / 2
        return (1 + math.cos(math.pi * (done - start) / (1 - start))) / 2

    return factor


def warm_cosine(warm: float) -> Rate:
    """Return a rate that rises linearly over the first `warm` of the steps, then falls to 0 by a cosine."""
    return lambda done: done / warm if done < warm else (1 + math.cos(math.pi * (done - warm) / (1 - warm))) / 2


def fit(
    model: nn.Module, batches: DataLoader, optimizer: torch.optim.Optimizer, epochs: int, rate: Rate, **options: Any
) -> None:
    """Train for some epochs. options: smoothing, clip, after_epoch."""
    peaks = [group["lr"] for group in optimizer.param_groups]
    loss = nn.CrossEntropyLoss(label_smoothing=options.get("smoothing", 0.0))
    step, steps = 0, epochs * len(batches)
    for _ in range(epochs):
        model.train()
        for images, labels in batches:
            for group, peak in zip(optimizer.param_groups, peaks, strict=True):
                group["lr"] = peak * rate(step / steps)
            optimizer.zero_grad()
            loss(model(images), labels).backward()
            if options.get("clip"):
                nn.utils.clip_grad_norm_(model.parameters(), options["clip"])
            optimizer.step()
            step += 1
        options.get("after_epoch", lambda: None)()


@torch.no_grad()
def accuracy(model: nn.Module, images: Dataset[Any]) -> float:
    model.eval()
    hits = [(model(batch).argmax(1) == labels).sum() for batch, labels in DataLoader(images, batch_size=64)]
    return float(sum(map(float, hits)) / len(images))  # type: ignore[arg-type]


def held_out(count: int, share: float) -> tuple[list[int], list[int]]:
    """Return the indices of training and validation images, at random."""
    order = torch.randperm(count).tolist()
    valid = round(share * count)
    return order[valid:], order[:valid]


class FastaiHead(nn.Module):
    """Pooling by average and maximum, then two blocks of BatchNorm, dropout and a linear layer."""

    def __init__(self, features: int, classes: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *(nn.BatchNorm1d(2 * features), nn.Dropout(0.25), nn.Linear(2 * features, 512, bias=False), nn.ReLU()),
            *(nn.BatchNorm1d(512), nn.Dropout(0.5), nn.Linear(512, classes, bias=False)),
        )

    def forward(self, maps: Tensor) -> Tensor:
        return self.layers(torch.cat([maps.amax((2, 3)), maps.mean((2, 3))], dim=1))


def fastai(root: str, build: Callable[..., nn.Module]) -> float:
    """vision_learner(...).fine_tune(5): 20 % held out and used for nothing, batches of 64.

    fine_tune has no default number of epochs. Its defaults: one frozen epoch at 2e-3, then everything at 1e-3 for the
    head and a hundredth of it for the body; Adam with decoupled weight decay 0.01, eps 1e-5, one-cycle rates.
    Left out: the one-cycle momentum.
    """
    crop = T.Compose([T.Resize(224), T.RandomCrop(224), *_NORMAL])
    data = ImageFolder(f"{root}/train", crop)
    train, _ = held_out(len(data), 0.2)
    batches = DataLoader(Subset(data, train), batch_size=64, shuffle=True, drop_last=True)
    body = build(num_classes=0, global_pool="")
    model = nn.Sequential(body, FastaiHead(body.num_features, len(data.classes)))

    def optimizer(body_rate: float, head_rate: float) -> torch.optim.Optimizer:
        groups = [{"params": body.parameters(), "lr": body_rate}, {"params": model[1].parameters(), "lr": head_rate}]
        return torch.optim.AdamW(groups, betas=(0.9, 0.99), eps=1e-5, weight_decay=0.01)

    norms = {id(p) for m in body.modules() if isinstance(m, nn.BatchNorm2d) for p in m.parameters()}
    for parameter in body.parameters():  # fastai trains the norms of a frozen body
        parameter.requires_grad_(id(parameter) in norms)
    fit(model, batches, optimizer(2e-3, 2e-3), 1, one_cycle(0.99, 25))
    body.requires_grad_(True)
    fit(model, batches, optimizer(1e-5, 1e-3), 5, one_cycle(0.3, 5))
    return accuracy(model, ImageFolder(f"{root}/test", T.Compose([T.Resize(224), T.CenterCrop(224), *_NORMAL])))


def timm_script(root: str, build: Callable[..., nn.Module]) -> float:
    """Timm's train.py --pretrained: SGD with momentum 0.9 at 0.1 for 256 images, batches of 128, cosine, smoothing 0.1.

    Its default of 300 epochs with 5 of warm-up takes hours here: 10 epochs with one of warm-up instead, so that this
    arm says nothing about the accuracy of 300. Random resized crops, flips, colour jitter 0.4; nothing is held out.
    """
    jitter = T.ColorJitter(0.4, 0.4, 0.4)
    crop = T.Compose([T.RandomResizedCrop(224, (0.08, 1.0)), T.RandomHorizontalFlip(), jitter, *_NORMAL])
    data = ImageFolder(f"{root}/train", crop)
    batches = DataLoader(data, batch_size=128, shuffle=True, drop_last=True)
    model = build(num_classes=len(data.classes))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, nesterov=True, weight_decay=2e-5)
    fit(model, batches, optimizer, 10, warm_cosine(0.1), smoothing=0.1)
    return accuracy(model, ImageFolder(f"{root}/test", _CENTRE))


def autogluon(root: str, build: Callable[..., nn.Module]) -> float:
    """MultiModalPredictor: AdamW at 1e-4 with layer-wise decay 0.9, weight decay 1e-3, 10 % warm-up, cosine, 10 epochs.

    Batches of 128, gradients clipped at 1, TrivialAugment, 20 % held out; the best epoch by validation is kept. Left
    out: the average of the best three weights, and validation twice an epoch.
    """
    wide = [T.Resize(256), T.CenterCrop(224)]
    data = ImageFolder(f"{root}/train", T.Compose([*wide, T.TrivialAugmentWide(), *_NORMAL]))
    train, valid = held_out(len(data), 0.2)
    checked = Subset(ImageFolder(f"{root}/train", _CENTRE), valid)
    batches = DataLoader(Subset(data, train), batch_size=128, shuffle=True)
    model = build(num_classes=len(data.classes))
    groups = layerwise(model, 1e-4, 0.9)
    best: list[Any] = [-1.0, None]

    def keep_best() -> None:
        score = accuracy(model, checked)
        if score > best[0]:
            best[:] = score, copy.deepcopy(model.state_dict())

    optimizer = torch.optim.AdamW(groups, weight_decay=1e-3)
    fit(model, batches, optimizer, 10, warm_cosine(0.1), clip=1.0, after_epoch=keep_best)
    model.load_state_dict(best[1])
    return accuracy(model, ImageFolder(f"{root}/test", _CENTRE))


def layerwise(model: nn.Module, rate: float, decay: float) -> list[dict[str, Any]]:
    """Return one group per stage of timm's mobilenetv2, each with `decay` times the rate of the next one."""
    stages: Sequence[Sequence[nn.Module]] = (
        (model.conv_stem, model.bn1),
        *((block,) for block in model.blocks),
        (model.conv_head, model.bn2),
        (model.classifier,),
    )
    return [
        {"params": [p for part in stage for p in part.parameters()], "lr": rate * decay ** (len(stages) - 1 - depth)}
        for depth, stage in enumerate(stages)
    ]


LOOPS = {"fastai": fastai, "timm": timm_script, "autogluon": autogluon}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("library", choices=LOOPS)
    parser.add_argument("data")
    parser.add_argument("--weights", required=True)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    overlay = {"file": args.weights, "mean": (0.5,) * 3, "std": (0.5,) * 3}

    def build(**head: Any) -> nn.Module:
        return timm.create_model("mobilenetv2_100", pretrained=True, pretrained_cfg_overlay=overlay, **head)

    print(json.dumps({"test": LOOPS[args.library](args.data, build)}))


if __name__ == "__main__":
    main()
