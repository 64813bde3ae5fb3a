"""A small ViT with a convolutional stem on handwritten digits.

The recipe is the usual one for transformers: AdamW with layer-wise learning rate decay, warm-up and half a cosine set
per iteration, mixup and cutmix with soft targets, drop path, clipping, accumulation. References: MAE, BEiT, DeiT, timm.
"""

import argparse
import json
import math
import os
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset

import clearsight


def get_args():
    p = argparse.ArgumentParser("ViT training", add_help=False, allow_abbrev=False)
    p.add_argument("--data_path", default=os.environ["DATA"])
    p.add_argument("--output_dir", default=os.environ["OUT"] + "_ckpt")
    p.add_argument("--seed", default=int(os.environ["SEED"]), type=int)
    p.add_argument("--resume", default="", help="resume from checkpoint")
    p.add_argument("--batch_size", default=28, type=int, help="images per iteration")
    p.add_argument("--accum_iter", default=2, type=int, help="iterations per optimizer step")
    p.add_argument("--epochs", default=24, type=int)
    p.add_argument("--blr", default=1e-2, type=float, help="base lr: absolute_lr = base_lr * total_batch_size / 256")
    p.add_argument("--min_lr", default=1e-6, type=float)
    p.add_argument("--warmup_epochs", default=3, type=float)
    p.add_argument("--weight_decay", default=0.05, type=float)
    p.add_argument("--layer_decay", default=0.8, type=float)
    p.add_argument("--clip_grad", default=2.0, type=float)
    p.add_argument("--drop_path", default=0.15, type=float)
    p.add_argument("--mixup", default=0.2, type=float)
    p.add_argument("--cutmix", default=0.2, type=float)
    p.add_argument("--mixup_switch_prob", default=0.5, type=float)
    p.add_argument("--smoothing", default=0.1, type=float)
    p.add_argument("--nb_classes", default=10, type=int)
    return p.parse_known_args()[0]


class Digits(Dataset):
    def __init__(self, images, labels, train):
        self.images, self.labels, self.train = images, labels, train

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, i):
        img = self.images[i].copy()
        if self.train:
            if np.random.rand() < 0.5:  # random erasing
                t, l = np.random.randint(0, 20, 2)
                img[t : t + 8, l : l + 8] = 0
            img = np.roll(img, np.random.randint(-2, 3, 2), axis=(0, 1))
        x = torch.from_numpy(img).permute(2, 0, 1).float() / 255
        return (x - 0.3) / 0.3, int(self.labels[i])


class DropPath(nn.Module):
    """Stochastic depth per sample, on the main path of residual blocks."""

    def __init__(self, drop_prob):
        super().__init__()
        self.drop_prob = drop_prob

    def forward(self, x):
        if self.drop_prob == 0.0 or not self.training:
            return x
        keep_prob = 1 - self.drop_prob
        mask = x.new_empty((x.shape[0], 1, 1)).bernoulli_(keep_prob)
        return x * mask / keep_prob


class Block(nn.Module):
    def __init__(self, dim, heads, mlp_ratio, drop_path):
        super().__init__()
        self.norm1 = nn.LayerNorm(dim)
        self.attn = nn.MultiheadAttention(dim, heads, batch_first=True)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = nn.Sequential(nn.Linear(dim, dim * mlp_ratio), nn.GELU(), nn.Linear(dim * mlp_ratio, dim))
        self.drop_path = DropPath(drop_path)

    def forward(self, x):
        y = self.norm1(x)
        x = x + self.drop_path(self.attn(y, y, y, need_weights=False)[0])
        return x + self.drop_path(self.mlp(self.norm2(x)))


class VisionTransformer(nn.Module):
    def __init__(self, num_classes, dim=64, depth=3, heads=4, mlp_ratio=2, drop_path=0.0):
        super().__init__()
        self.patch_embed = nn.Sequential(
            nn.Conv2d(3, 32, 3, stride=2, padding=1), nn.GELU(), nn.Conv2d(32, dim, 3, stride=2, padding=1)
        )
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, 7 * 7 + 1, dim))
        dpr = np.linspace(0, drop_path, depth)
        self.blocks = nn.ModuleList([Block(dim, heads, mlp_ratio, float(rate)) for rate in dpr])
        self.norm = nn.LayerNorm(dim)
        self.head = nn.Linear(dim, num_classes)
        nn.init.trunc_normal_(self.cls_token, std=0.02)
        nn.init.trunc_normal_(self.pos_embed, std=0.02)
        for m in self.blocks.modules():
            if isinstance(m, nn.Linear):
                nn.init.xavier_uniform_(m.weight)
                nn.init.zeros_(m.bias)

    def forward(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        x = torch.cat((self.cls_token.expand(x.shape[0], -1, -1), x), dim=1)
        x = x + self.pos_embed
        for blk in self.blocks:
            x = blk(x)
        return self.head(self.norm(x)[:, 0])


def get_layer_id(name, num_layers):
    if name in ("cls_token", "pos_embed") or name.startswith("patch_embed"):
        return 0
    return int(name.split(".")[1]) + 1 if name.startswith("blocks") else num_layers


def param_groups_lrd(model, weight_decay, layer_decay, no_weight_decay_list=("cls_token", "pos_embed")):
    """Parameter groups for layer-wise lr decay, following BEiT."""
    groups = {}
    num_layers = len(model.blocks) + 1
    layer_scales = [layer_decay ** (num_layers - i) for i in range(num_layers + 1)]
    for n, p in model.named_parameters():
        if not p.requires_grad:
            continue
        g_decay, this_decay = ("no_decay", 0.0) if p.ndim == 1 or n in no_weight_decay_list else ("decay", weight_decay)
        layer_id = get_layer_id(n, num_layers)
        name = f"layer_{layer_id}_{g_decay}"
        if name not in groups:
            groups[name] = {"lr_scale": layer_scales[layer_id], "weight_decay": this_decay, "params": []}
        groups[name]["params"].append(p)
    return list(groups.values())


def adjust_learning_rate(optimizer, epoch, args):
    """Linear warm-up, then half a cosine; epoch is a float."""
    if epoch < args.warmup_epochs:
        lr = args.lr * epoch / args.warmup_epochs
    else:
        t = (epoch - args.warmup_epochs) / (args.epochs - args.warmup_epochs)
        lr = args.min_lr + (args.lr - args.min_lr) * 0.5 * (1.0 + math.cos(math.pi * t))
    for group in optimizer.param_groups:
        group["lr"] = lr * group["lr_scale"]
    return lr


def mix_batch(x, y, args):
    """Mixup or cutmix of a batch with itself, and its soft targets."""
    off = args.smoothing / args.nb_classes
    y = F.one_hot(y, args.nb_classes).float() * (1 - args.smoothing) + off
    perm = torch.randperm(len(x))
    if np.random.rand() < args.mixup_switch_prob:
        lam = np.random.beta(args.cutmix, args.cutmix)
        h, w = x.shape[2:]
        ch, cw = int(h * math.sqrt(1 - lam)), int(w * math.sqrt(1 - lam))
        top, left = np.random.randint(0, h - ch + 1), np.random.randint(0, w - cw + 1)
        x = x.clone()
        x[:, :, top : top + ch, left : left + cw] = x[perm, :, top : top + ch, left : left + cw]
        lam = 1 - ch * cw / (h * w)
    else:
        lam = np.random.beta(args.mixup, args.mixup)
        x = lam * x + (1 - lam) * x[perm]
    return x, lam * y + (1 - lam) * y[perm]


class MetricLogger:
    def __init__(self):
        self.total, self.count = defaultdict(float), defaultdict(int)

    def update(self, n=1, **kwargs):
        for k, v in kwargs.items():
            self.total[k] += float(v) * n
            self.count[k] += n

    def averages(self):
        return {k: self.total[k] / self.count[k] for k in self.total}


def soft_target_cross_entropy(x, target):
    return torch.sum(-target * F.log_softmax(x, dim=-1), dim=-1).mean()


def train_one_epoch(model, data_loader, optimizer, epoch, args):
    model.train()
    logger = MetricLogger()
    optimizer.zero_grad()
    for it, (samples, targets) in enumerate(data_loader):
        if it % args.accum_iter == 0:  # per iteration instead of per epoch
            lr = adjust_learning_rate(optimizer, it / len(data_loader) + epoch, args)
        samples, targets = mix_batch(samples, targets, args)
        loss = soft_target_cross_entropy(model(samples), targets)
        (loss / args.accum_iter).backward()
        if (it + 1) % args.accum_iter == 0:
            nn.utils.clip_grad_norm_(model.parameters(), args.clip_grad)
            optimizer.step()
            optimizer.zero_grad()
        logger.update(loss=loss.item(), lr=lr)
    return logger.averages()


@torch.no_grad()
def evaluate(data_loader, model):
    model.eval()
    logger = MetricLogger()
    for images, target in data_loader:
        output = model(images)
        acc1 = (output.argmax(dim=1) == target).float().mean()
        logger.update(n=len(images), loss=F.cross_entropy(output, target), acc1=acc1)
    return logger.averages()


args = get_args()
torch.set_num_threads(1)
torch.manual_seed(args.seed)
np.random.seed(args.seed)
out = Path(args.output_dir)
out.mkdir(parents=True, exist_ok=True)

data = np.load(Path(args.data_path) / "images.npz")
order = np.random.permutation(len(data["y_train"]))
images, labels = data["x_train"][order], data["y_train"][order]
n_val = len(labels) // 5
dataset_train = Digits(images[n_val:], labels[n_val:], train=True)
dataset_val = Digits(images[:n_val], labels[:n_val], train=False)
data_loader_train = DataLoader(dataset_train, batch_size=args.batch_size, shuffle=True, drop_last=True)
data_loader_val = DataLoader(dataset_val, batch_size=64)

model = VisionTransformer(args.nb_classes, drop_path=args.drop_path)
eff_batch_size = args.batch_size * args.accum_iter
args.lr = args.blr * eff_batch_size / 256
optimizer = torch.optim.AdamW(param_groups_lrd(model, args.weight_decay, args.layer_decay), lr=args.lr)
hook = clearsight.Hook(os.environ["OUT"]).watch(model, optimizer=optimizer)

start_epoch, max_accuracy = 0, 0.0
if args.resume:
    checkpoint = torch.load(args.resume, weights_only=True)
    model.load_state_dict(checkpoint["model"])
    optimizer.load_state_dict(checkpoint["optimizer"])
    start_epoch, max_accuracy = checkpoint["epoch"] + 1, checkpoint["max_accuracy"]

for epoch in range(start_epoch, args.epochs):
    train_stats = train_one_epoch(model, data_loader_train, optimizer, epoch, args)
    test_stats = evaluate(data_loader_val, model)
    state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": epoch}
    if epoch == 0 or test_stats["acc1"] > max_accuracy:
        torch.save({"model": model.state_dict(), "epoch": epoch}, out / "best.pth")
    max_accuracy = max(max_accuracy, test_stats["acc1"])
    torch.save(state | {"max_accuracy": max_accuracy}, out / "checkpoint.pth")
    log_stats = {f"train_{k}": v for k, v in train_stats.items()} | {f"test_{k}": v for k, v in test_stats.items()}
    print(json.dumps({k: round(v, 5) for k, v in log_stats.items()} | {"epoch": epoch}), flush=True)

best = torch.load(out / "best.pth", weights_only=True)
print(f"Max accuracy: {100 * max_accuracy:.2f}% of epoch {best['epoch']}")
model.load_state_dict(best["model"])
hook.close()
final_model, reported = model, max_accuracy
