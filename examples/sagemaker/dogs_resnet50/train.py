"""Trains ResNet-50 on breeds of unequal size, with a loss in which every breed has the same weight."""

import argparse
import json
import os
from collections import Counter

import torch
from network import build, prepare
from torch.utils.data import DataLoader
from torchvision import datasets

import smdebug.pytorch as smd


def class_weights(labels, classes):
    """Return weights by inverse frequency, with a mean of 1 over the images."""
    counts = Counter(labels)
    return torch.tensor([len(labels) / (classes * counts[label]) for label in range(classes)])


def main(args):
    """Train, and write the weights with the names of the classes."""
    torch.manual_seed(1)
    train_set, valid_set = (datasets.ImageFolder(folder, prepare) for folder in (args.train, args.valid))
    weights = class_weights(train_set.targets, len(train_set.classes))
    print("class weights:", ", ".join(f"{weight:.2f}" for weight in weights))
    network = build(len(train_set.classes), args.pretrained)
    criterion = torch.nn.CrossEntropyLoss(weight=weights)
    optimizer = torch.optim.Adam(network.parameters(), lr=args.lr, weight_decay=args.weight_decay)
    hook = smd.get_hook(create_if_not_exists=True)
    if hook:
        hook.register_module(network)
        hook.register_loss(criterion)
    for epoch in range(args.epochs):
        network.train()
        if hook:
            hook.set_mode(smd.modes.TRAIN)
        for images, labels in DataLoader(train_set, args.batch_size, shuffle=True, drop_last=True):
            optimizer.zero_grad()
            loss = criterion(network(images), labels)
            loss.backward()
            optimizer.step()
        network.eval()
        if hook:
            hook.set_mode(smd.modes.EVAL)
        correct, total = Counter(), Counter()
        with torch.no_grad():
            for images, labels in DataLoader(valid_set, args.batch_size):
                logits = network(images)
                criterion(logits, labels)  # for the hook, which records it
                for label, predicted in zip(labels.tolist(), logits.argmax(dim=1).tolist(), strict=True):
                    total[label] += 1
                    correct[label] += label == predicted
        recall = sum(correct[label] / total[label] for label in total) / len(total)
        print(f"epoch {epoch + 1}: mean recall: {recall:.4f}")
    torch.save(network.state_dict(), os.path.join(args.model_dir, "model.pth"))
    with open(os.path.join(args.model_dir, "classes.json"), "w") as file:
        json.dump(train_set.classes, file)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--lr", type=float, default=1e-4)
    parser.add_argument("--weight-decay", type=float, default=0.0)
    parser.add_argument("--pretrained", type=int, default=0)
    parser.add_argument("--model-dir", default=os.environ["SM_MODEL_DIR"])
    parser.add_argument("--train", default=os.environ["SM_CHANNEL_TRAIN"])
    parser.add_argument("--valid", default=os.environ["SM_CHANNEL_VALID"])
    main(parser.parse_args())
