"""Trains EfficientNet-B0 on folders of scenes, one folder for each class."""

import argparse
import json
import os

import torch
from network import augment, build, prepare
from torch.utils.data import DataLoader
from torchvision import datasets

import smdebug.pytorch as smd


def train_epoch(network, batches, criterion, optimizer):
    """Train once over all batches."""
    network.train()
    for images, labels in batches:
        optimizer.zero_grad()
        loss = criterion(network(images), labels)
        loss.backward()
        optimizer.step()


@torch.no_grad()
def evaluate(network, batches, criterion):
    """Return the mean loss and the accuracy."""
    network.eval()
    loss = correct = count = 0
    for images, labels in batches:
        logits = network(images)
        loss += criterion(logits, labels).item() * len(labels)
        correct += (logits.argmax(dim=1) == labels).sum().item()
        count += len(labels)
    return loss / count, correct / count


def main(args):
    """Train, and write the weights with the names of the classes."""
    torch.manual_seed(args.seed)
    train_set = datasets.ImageFolder(args.train, augment)
    valid_set = datasets.ImageFolder(args.valid, prepare)
    train_batches = DataLoader(train_set, args.batch_size, shuffle=True)
    valid_batches = DataLoader(valid_set, args.batch_size)

    network = build(len(train_set.classes), args.pretrained)
    criterion = torch.nn.CrossEntropyLoss()
    optimizer = torch.optim.AdamW(network.parameters(), lr=args.lr)
    hook = smd.get_hook(create_if_not_exists=True)  # None outside of a job
    if hook:
        hook.register_module(network)
        hook.register_loss(criterion)
    for epoch in range(args.epochs):
        if hook:
            hook.set_mode(smd.modes.TRAIN)
        train_epoch(network, train_batches, criterion, optimizer)
        if hook:
            hook.set_mode(smd.modes.EVAL)
        loss, accuracy = evaluate(network, valid_batches, criterion)
        print(f"epoch {epoch + 1}: validation loss: {loss:.4f}, validation accuracy: {accuracy:.4f}")
    torch.save(network.state_dict(), os.path.join(args.model_dir, "model.pth"))
    with open(os.path.join(args.model_dir, "classes.json"), "w") as file:
        json.dump(train_set.classes, file)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--pretrained", type=int, default=0)
    parser.add_argument("--model-dir", default=os.environ["SM_MODEL_DIR"])
    parser.add_argument("--train", default=os.environ["SM_CHANNEL_TRAIN"])
    parser.add_argument("--valid", default=os.environ["SM_CHANNEL_VALID"])
    main(parser.parse_args())
