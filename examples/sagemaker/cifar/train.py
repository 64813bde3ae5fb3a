"""Trains ResNet-34 on batches of CIFAR-10; goes on from its checkpoint after an interruption."""

import argparse
import os

import torch
from batches import read_batch, read_names
from network import build, prepare
from torch.utils.data import DataLoader, TensorDataset

import smdebug.pytorch as smd


def dataset(folder, names, most):
    """Return the images of some batches."""
    parts = [read_batch(os.path.join(folder, name)) for name in names]
    images = torch.cat([torch.from_numpy(images.copy()) for images, _ in parts])[:most]
    labels = torch.cat([torch.from_numpy(labels) for _, labels in parts])[:most]
    return TensorDataset(prepare(images), labels)


def main(args):
    """Train, and write the weights."""
    torch.manual_seed(0)
    train_set = dataset(args.training, [f"data_batch_{number}" for number in range(1, 6)], args.images)
    valid_set = dataset(args.training, ["test_batch"], args.images)
    network = build(len(read_names(os.path.join(args.training, "batches.meta"))))
    criterion = torch.nn.CrossEntropyLoss(label_smoothing=args.label_smoothing)
    optimizer = torch.optim.SGD(network.parameters(), lr=args.lr, momentum=0.9, weight_decay=5e-4)
    checkpoint = os.path.join(args.checkpoints, "newest.pth")
    first = 0
    if os.path.exists(checkpoint):
        state = torch.load(checkpoint, map_location="cpu", weights_only=True)
        network.load_state_dict(state["network"])
        optimizer.load_state_dict(state["optimizer"])
        first = state["epoch"]
        print(f"going on after epoch {first}")
    hook = smd.get_hook(create_if_not_exists=True)
    if hook:
        hook.register_module(network)
        hook.register_loss(criterion)
    for epoch in range(first, args.epochs):
        if hook:
            hook.set_mode(smd.modes.TRAIN)
        network.train()
        for images, labels in DataLoader(train_set, args.batch_size, shuffle=True, drop_last=True):
            optimizer.zero_grad()
            criterion(network(images), labels).backward()
            optimizer.step()
        if hook:
            hook.set_mode(smd.modes.EVAL)
        network.eval()
        loss = correct = 0
        with torch.no_grad():
            for images, labels in DataLoader(valid_set, 64):
                logits = network(images)
                loss += criterion(logits, labels).item() * len(labels)
                correct += (logits.argmax(dim=1) == labels).sum().item()
        print(f"epoch {epoch + 1}: test loss: {loss / len(valid_set):.4f}, accuracy: {correct / len(valid_set):.4f}")
        if os.path.isdir(args.checkpoints):
            state = {"network": network.state_dict(), "optimizer": optimizer.state_dict(), "epoch": epoch + 1}
            torch.save(state, checkpoint)
    torch.save(network.state_dict(), os.path.join(args.model_dir, "model.pth"))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--lr", type=float, default=0.05)
    parser.add_argument("--label-smoothing", type=float, default=0.0)
    parser.add_argument("--images", type=int, default=100_000, help="use this many of each split")
    parser.add_argument("--checkpoints", default="/opt/ml/checkpoints")
    parser.add_argument("--model-dir", default=os.environ["SM_MODEL_DIR"])
    parser.add_argument("--training", default=os.environ["SM_CHANNEL_TRAINING"])
    main(parser.parse_args())
