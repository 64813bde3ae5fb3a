"""Trains a deep head on the features of AlexNet, to tell breeds of dogs apart."""

import argparse
import json
import os

import torch
from network import build, prepare
from torch.utils.data import DataLoader
from torchvision import datasets

import smdebug.pytorch as smd


def main(args):
    """Train; what is needed to build the network again is saved beside its weights."""
    torch.manual_seed(0)
    splits = {name: datasets.ImageFolder(getattr(args, name), prepare) for name in ("train", "valid")}
    batches = {name: DataLoader(images, args.batch_size, shuffle=name == "train") for name, images in splits.items()}
    head = [int(width) for width in args.head.split("-")]
    network = build(len(splits["train"].classes), head, args.pretrained)
    criterion = torch.nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(network.classifier.parameters(), lr=args.lr, momentum=args.momentum)
    hook = smd.get_hook(create_if_not_exists=True)
    if hook:
        hook.register_module(network)
        hook.register_loss(criterion)
    for epoch in range(args.epochs):
        for name, mode in (("train", smd.modes.TRAIN), ("valid", smd.modes.EVAL)):
            if hook:
                hook.set_mode(mode)
            loss, accuracy = run_epoch(network, batches[name], criterion, optimizer if name == "train" else None)
            print(f"epoch {epoch + 1}: {name} loss: {loss:.4f}, {name} accuracy: {accuracy:.4f}")
    torch.save(network.state_dict(), os.path.join(args.model_dir, "model.pth"))
    with open(os.path.join(args.model_dir, "network.json"), "w") as file:
        json.dump({"classes": splits["train"].classes, "head": head}, file)


def run_epoch(network, batches, criterion, optimizer):
    """Return the mean loss and the accuracy; trains where there is an optimizer."""
    network.train(optimizer is not None)
    losses, correct, count = 0.0, 0, 0
    with torch.set_grad_enabled(optimizer is not None):
        for images, labels in batches:
            logits = network(images)
            loss = criterion(logits, labels)
            if optimizer is not None:
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            losses += loss.item() * len(labels)
            correct += (logits.argmax(dim=1) == labels).sum().item()
            count += len(labels)
    return losses / count, correct / count


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--lr", type=float, default=0.01)
    parser.add_argument("--momentum", type=float, default=0.9)
    parser.add_argument("--head", default="750-250")
    parser.add_argument("--pretrained", type=int, default=0)
    parser.add_argument("--model-dir", default=os.environ["SM_MODEL_DIR"])
    parser.add_argument("--train", default=os.environ["SM_CHANNEL_TRAIN"])
    parser.add_argument("--valid", default=os.environ["SM_CHANNEL_VALID"])
    main(parser.parse_args())
