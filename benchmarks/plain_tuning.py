"""The tuning script most people write for a frozen backbone, for comparison in frozen_tuning.py.

Optuna's default study, and in each trial everything from the start: PIL and torchvision's classic transforms, a
DataLoader without workers, the backbone's forward pass for every image in every epoch, the best epoch by ROC-AUC.

    python benchmarks/plain_tuning.py DATA --model mobilenetv2_100 --weights FILE --trials 8 --epochs 5

With --features DIR the features exist already, and only heads are trained, one trial after another.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import optuna
import torch
from sklearn.metrics import roc_auc_score
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision import models, transforms
from torchvision.datasets import ImageFolder


def build(args: argparse.Namespace) -> tuple[nn.Module, nn.Linear]:
    if args.weights:
        import timm

        overlay = {"file": args.weights, "mean": (0.5,) * 3, "std": (0.5,) * 3}
        model = timm.create_model(args.model, pretrained=True, num_classes=2, pretrained_cfg_overlay=overlay)
        head = model.get_classifier()
    else:
        model = getattr(models, args.model)(weights=None)
        model.fc = head = nn.Linear(model.fc.in_features, 2)
    for parameter in model.parameters():
        parameter.requires_grad = False
    nn.init.normal_(head.weight, std=0.01)
    nn.init.zeros_(head.bias)
    head.requires_grad_(True)
    return model, head


def image_sets(args: argparse.Namespace) -> dict[str, Dataset]:
    normal = ((0.5,) * 3, (0.5,) * 3) if args.weights else ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    steps = [transforms.Resize(256), transforms.CenterCrop(224), transforms.ToTensor(), transforms.Normalize(*normal)]
    return {split: ImageFolder(f"{args.data}/{split}", transforms.Compose(steps)) for split in ("train", "valid")}


@torch.no_grad()
def area(model: nn.Module, batches: DataLoader) -> float:
    model.eval()
    scores, truth = [], []
    for images, labels in batches:
        scores.append(torch.softmax(model(images), 1)[:, 1])
        truth.append(labels)
    return float(roc_auc_score(torch.cat(truth).numpy(), torch.cat(scores).numpy()))


def train_on_images(args: argparse.Namespace, params: dict[str, float]) -> float:
    """Run a trial on images; return its best validation ROC-AUC."""
    torch.manual_seed(args.seed)
    sets = image_sets(args)
    size = int(params["batch_size"])
    train, valid = DataLoader(sets["train"], size, shuffle=True), DataLoader(sets["valid"], 32)
    model, head = build(args)
    optimizer = torch.optim.AdamW(head.parameters(), lr=params["lr"], weight_decay=params["weight_decay"])
    best = 0.0
    for _ in range(int(params["epochs"])):
        model.train()
        for images, labels in train:
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(images), labels).backward()
            optimizer.step()
        best = max(best, area(model, valid))
    return best


def train_on_features(args: argparse.Namespace, features: dict[str, torch.Tensor], params: dict[str, float]) -> float:
    """Run a trial on features; return its best validation ROC-AUC."""
    torch.manual_seed(args.seed)
    head = nn.Linear(features["train"].shape[1], 2)
    optimizer = torch.optim.AdamW(head.parameters(), lr=params["lr"], weight_decay=params["weight_decay"])
    best, truth = 0.0, features["valid_labels"].numpy()
    for _ in range(int(params["epochs"])):
        for chosen in torch.randperm(len(features["train"])).split(int(params["batch_size"])):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(head(features["train"][chosen]), features["train_labels"][chosen])
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            scores = torch.softmax(head(features["valid"]), 1)[:, 1].numpy()
        best = max(best, float(roc_auc_score(truth, scores)))
    return best


def params_of(trial: optuna.Trial, args: argparse.Namespace) -> dict[str, float]:
    return {
        "lr": trial.suggest_float("lr", 1e-5, 1e-1, log=True),
        "batch_size": trial.suggest_categorical("batch_size", [32, 64, 128, 256, 512]),
        "weight_decay": trial.suggest_float("weight_decay", 1e-6, 1e-1, log=True),
        "epochs": args.epochs or trial.suggest_int("epochs", 5, 40),
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("data")
    parser.add_argument("--model", default="resnet50")
    parser.add_argument("--weights", default="")
    parser.add_argument("--trials", type=int, default=8)
    parser.add_argument("--epochs", type=int, default=0, help="0: tuned from 5 to 40")
    parser.add_argument("--features", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    features = {}
    if args.features:
        features = {file.stem: torch.from_numpy(np.load(file)) for file in args.features.glob("*.npy")}
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=args.seed))
    epochs = 0

    def objective(trial: optuna.Trial) -> float:
        nonlocal epochs
        params = params_of(trial, args)
        epochs += int(params["epochs"])
        return train_on_features(args, features, params) if args.features else train_on_images(args, params)

    start = time.perf_counter()
    study.optimize(objective, n_trials=args.trials)
    seconds = time.perf_counter() - start
    print(json.dumps({"best": study.best_value, "seconds": seconds, "epochs": epochs}))


if __name__ == "__main__":
    main()
