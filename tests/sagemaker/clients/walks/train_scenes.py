"""Train on class folders, as scripts for SageMaker's images do: the loss is registered and the module is not."""

import argparse
import os

import torch
from PIL import Image

import smdebug.pytorch as smd
from smdebug.pytorch import get_hook, modes


def batches(folder):
    """Yield (images_NCHW, labels_N) of a class each."""
    for label, name in enumerate(sorted(os.listdir(folder))):
        images = []
        for file in sorted(os.listdir(os.path.join(folder, name))):
            with Image.open(os.path.join(folder, name, file)) as image:
                pixels = list(image.convert("RGB").resize((8, 8)).tobytes())
            images.append(torch.tensor(pixels).float().div(255).reshape(8, 8, 3).permute(2, 0, 1))
        yield torch.stack(images), torch.full((len(images),), label)


def run(args):
    """Train and validate."""
    hook = get_hook(create_if_not_exists=True)
    assert hook is not None
    network = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(144, 2)
    )
    criterion = torch.nn.CrossEntropyLoss()
    hook.register_loss(criterion)
    optimizer = torch.optim.SGD(network.parameters(), lr=args.lr)
    for epoch in range(args.epochs):
        hook.set_mode(modes.TRAIN)
        network.train()
        for images, labels in batches(args.train):
            optimizer.zero_grad()
            loss = criterion(network(images), labels)
            loss.backward()
            optimizer.step()
        hook.set_mode(smd.modes.EVAL)
        network.eval()
        with torch.no_grad():
            total = sum(criterion(network(images), labels).item() for images, labels in batches(args.valid))
        print(f"Epoch {epoch}: Average validation loss: {total / 2:.4f}")
    torch.save(network.state_dict(), os.path.join(args.model_dir, "model.pth"))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--lr", type=float, default=0.1)
    parser.add_argument("--model_dir", default=os.environ["SM_MODEL_DIR"])
    parser.add_argument("--train", default=os.environ["SM_CHANNEL_TRAIN"])
    parser.add_argument("--valid", default=os.environ["SM_CHANNEL_VALID"])
    run(parser.parse_args())
