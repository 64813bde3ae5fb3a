"""The script most people write for a frozen backbone: the arm that frozen_epochs.py compares against.

PIL and torchvision's classic transforms, a DataLoader without workers, the model left in train mode, the backbone's
forward pass in every epoch, the best epoch by validation accuracy tested at the end.
"""

from __future__ import annotations

import argparse
import json

import torch
from torch import nn
from torch.utils.data import DataLoader
from torchvision import models, transforms
from torchvision.datasets import ImageFolder


def build(args: argparse.Namespace, classes: int) -> nn.Module:
    if args.weights:
        import timm

        overlay = {"file": args.weights, "mean": (0.5,) * 3, "std": (0.5,) * 3}
        model = timm.create_model(args.model, pretrained=True, num_classes=classes, pretrained_cfg_overlay=overlay)
        head = model.get_classifier()
    else:
        model = getattr(models, args.model)(weights=None)
        model.fc = nn.Linear(model.fc.in_features, classes)
        head = model.fc
    for parameter in model.parameters():
        parameter.requires_grad = False
    nn.init.normal_(head.weight, std=0.01)
    nn.init.zeros_(head.bias)
    for parameter in head.parameters():
        parameter.requires_grad = True
    return model


@torch.no_grad()
def accuracy(model: nn.Module, batches: DataLoader) -> float:
    model.eval()
    correct = sum((model(images).argmax(1) == labels).sum().item() for images, labels in batches)
    return correct / len(batches.dataset)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("data")
    parser.add_argument("--model", default="resnet50")
    parser.add_argument("--weights", default="")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    normal = ((0.5,) * 3, (0.5,) * 3) if args.weights else ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    steps = [transforms.Resize(256), transforms.CenterCrop(224), transforms.ToTensor(), transforms.Normalize(*normal)]
    sets = {
        split: ImageFolder(f"{args.data}/{split}", transforms.Compose(steps)) for split in ("train", "valid", "test")
    }
    loaders = {split: DataLoader(images, batch_size=32, shuffle=split == "train") for split, images in sets.items()}
    model = build(args, len(sets["train"].classes))
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=args.lr)
    best, best_weights = -1.0, {}
    for _ in range(args.epochs):
        model.train()
        for images, labels in loaders["train"]:
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(images), labels).backward()
            optimizer.step()
        valid = accuracy(model, loaders["valid"])
        if valid > best:
            best, best_weights = valid, {name: tensor.clone() for name, tensor in model.state_dict().items()}
    model.load_state_dict(best_weights)
    print(json.dumps({"valid": best, "test": accuracy(model, loaders["test"])}))


if __name__ == "__main__":
    main()
