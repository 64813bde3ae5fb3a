"""Train a small vision transformer on digits. A job on our cluster is ended after an hour and sent in again.

usage: train.py [--epochs N] [--stop-after N] [--resume FILE] [--accum N] [--lr X] ...
"""

import argparse
import math
import os
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

import clearsight


def get_args(argv):
    parser = argparse.ArgumentParser("small ViT")
    parser.add_argument("--data", type=Path, default=Path(os.environ["DATA"]) / "images.npz")
    parser.add_argument("--output", type=Path, default=Path(os.environ["OUT"]))
    parser.add_argument("--seed", type=int, default=int(os.environ["SEED"]))
    parser.add_argument("--epochs", type=int, default=7)
    parser.add_argument("--stop-after", type=int, help="epochs until the job is ended by the queue")
    parser.add_argument("--resume", type=Path)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--accum", type=int, default=2)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--weight-decay", type=float, default=0.02)
    parser.add_argument("--warmup-epochs", type=float, default=1.0)
    parser.add_argument("--smoothing", type=float, default=0.1)
    parser.add_argument("--shift", type=int, default=1)
    return parser.parse_args(argv)


class ByteImages(Dataset):
    """Images (N, H, W, 3) as bytes in memory, changed one by one."""

    def __init__(self, pixels, labels, transform):
        self.pixels, self.labels, self.transform = pixels, labels, transform

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        image = self.transform(self.pixels[index])
        return image, int(self.labels[index])


class TrainTransform:
    def __init__(self, shift, rng):
        self.shift, self.rng = shift, rng

    def __call__(self, pixels):
        dy, dx = self.rng.integers(-self.shift, self.shift + 1, 2)
        pixels = np.roll(pixels, (dy, dx), axis=(0, 1))
        contrast = self.rng.uniform(0.8, 1.0)
        pixels = (pixels * contrast).astype(np.uint8)
        return to_tensor(pixels)


def to_tensor(pixels):
    image = torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))
    return (image.float() / 255.0 - 0.5) / 0.25


class Block(nn.Module):
    def __init__(self, dim, heads):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attn = nn.MultiheadAttention(dim, heads, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(dim, 2 * dim), nn.GELU(), nn.Linear(2 * dim, dim))

    def forward(self, x):
        y = self.norm1(x)
        x = x + self.attn(y, y, y, need_weights=False)[0]
        return x + self.mlp(self.norm2(x))


class SmallViT(nn.Module):
    def __init__(self, size=28, patch=4, dim=64, depth=3, heads=4, num_classes=10):
        super().__init__()
        self.patch = nn.Conv2d(3, dim, patch, patch)
        self.cls = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos = nn.Parameter(0.02 * torch.randn(1, (size // patch) ** 2 + 1, dim))
        self.blocks = nn.Sequential(*[Block(dim, heads) for _ in range(depth)])
        self.norm, self.head = nn.LayerNorm(dim), nn.Linear(dim, num_classes)

    def forward(self, x):
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls.expand(len(x), -1, -1), x], dim=1)
        x = self.blocks(x + self.pos)
        return self.head(self.norm(x)[:, 0])


def make_scheduler(optimizer, warmup, total):
    def factor(step):
        if step < warmup:
            return (step + 1) / warmup
        progress = (step - warmup) / max(1, total - warmup)
        return 0.5 * (1.0 + math.cos(math.pi * min(1.0, progress)))

    return torch.optim.lr_scheduler.LambdaLR(optimizer, factor)


@torch.no_grad()
def evaluate(model, loader):
    model.eval()
    correct = sum((model(x).argmax(1) == y).sum().item() for x, y in loader)
    return correct / len(loader.dataset)


def main(args):
    rng = np.random.default_rng(args.seed)
    arrays = np.load(args.data)
    train = ByteImages(arrays["x_train"], arrays["y_train"], TrainTransform(args.shift, rng))
    valid = ByteImages(arrays["x_valid"], arrays["y_valid"], to_tensor)
    train_loader = DataLoader(train, args.batch_size, shuffle=True, drop_last=True)
    valid_loader = DataLoader(valid, 40)

    model = SmallViT()
    criterion = nn.CrossEntropyLoss(label_smoothing=args.smoothing)
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.lr, weight_decay=args.weight_decay)
    updates = len(train_loader) // args.accum  # per epoch
    scheduler = make_scheduler(optimizer, int(args.warmup_epochs * updates), args.epochs * updates)
    start_epoch, hook = 0, None
    if args.resume:
        checkpoint = torch.load(args.resume)
        model.load_state_dict(checkpoint["model"])
        optimizer.load_state_dict(checkpoint["optimizer"])
        scheduler.load_state_dict(checkpoint["scheduler"])
        start_epoch = checkpoint["epoch"] + 1
        # the second job is the long one, so that is the one to look into
        hook = clearsight.Hook(args.output).watch(model, loss=criterion, optimizer=optimizer)

    for epoch in range(start_epoch, args.stop_after or args.epochs):
        model.train()
        running = 0.0
        optimizer.zero_grad()
        for i, (x, y) in enumerate(train_loader):
            loss = criterion(model(x), y) / args.accum
            loss.backward()
            running += loss.item() * args.accum
            if (i + 1) % args.accum == 0:
                nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
                scheduler.step()
                optimizer.zero_grad()
        accuracy = evaluate(model, valid_loader)
        print(f"epoch {epoch} loss {running / len(train_loader):.4f} acc {accuracy:.4f} lr {scheduler.get_last_lr()[0]:.2e}")
        state = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
        torch.save(state | {"scheduler": scheduler.state_dict(), "epoch": epoch}, args.output.parent / "last.pth")
    if hook:
        hook.close()
    return model, accuracy


torch.manual_seed(int(os.environ["SEED"]))
torch.set_num_threads(1)
main(get_args(["--stop-after", "1"]))
final_model, reported = main(get_args(["--resume", str(Path(os.environ["OUT"]).parent / "last.pth")]))
