"""speedrun: animals or vehicles, as fast as possible on one core.

All images live in one tensor, batches are rows of it, augmentation is done for a whole epoch at once.
The loss is SUMMED over the batch, so the rate and the decay below are per 1024 examples (see make_optimizer).
"""

import copy
import os
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

import clearsight

torch.manual_seed(int(os.environ["SEED"]))
torch.set_num_threads(1)

hyp = {
    "opt": {
        "epochs": 12,
        "batch_size": 50,
        "lr": 24.0,  # per 1024 examples
        "momentum": 0.85,
        "weight_decay": 0.0153,  # per 1024 examples
        "bias_scaler": 4.0,  # biases and norms learn faster
        "label_smoothing": 0.1,
        "peak": 0.25,  # the share of the steps at which the triangle has its tip
        "ema": 0.95,
    },
    "aug": {"translate": 4, "cutout": 12},
    "net": {"widths": (16, 32, 64), "scaling": 1 / 4},
}

CIFAR_MEAN = torch.tensor((0.4914, 0.4822, 0.4465)).view(1, 3, 1, 1)
CIFAR_STD = torch.tensor((0.2470, 0.2435, 0.2616)).view(1, 3, 1, 1)


# ---- data ----


def load(split):
    """Read a folder of class folders, (N, 3, H, W) and (N,)."""
    files = sorted((Path(os.environ["DATA"]) / split).glob("class*/*.png"))
    pixels = torch.from_numpy(np.stack([np.asarray(Image.open(f).convert("RGB")) for f in files]))
    images = pixels.permute(0, 3, 1, 2).contiguous()
    labels = torch.tensor([int(f.parent.name[-2:]) for f in files])
    return (images.float() / 255 - CIFAR_MEAN) / CIFAR_STD, labels


def batch_flip_lr(images):
    flip = (torch.rand(len(images)) < 0.5).view(-1, 1, 1, 1)
    return torch.where(flip, images.flip(-1), images)


def batch_crop(images, r):
    size = images.shape[-1]
    padded = F.pad(images, (r,) * 4)
    out = torch.empty_like(images)
    shifts = torch.randint(0, 2 * r + 1, (len(images), 2))
    for dy in range(2 * r + 1):
        for dx in range(2 * r + 1):
            rows = (shifts[:, 0] == dy) & (shifts[:, 1] == dx)
            out[rows] = padded[rows, :, dy : dy + size, dx : dx + size]
    return out


def batch_cutout(images, size):
    n, _, h, w = images.shape
    y0, x0 = torch.randint(0, h - size + 1, (n, 1, 1, 1)), torch.randint(0, w - size + 1, (n, 1, 1, 1))
    ys, xs = torch.arange(h).view(1, 1, h, 1), torch.arange(w).view(1, 1, 1, w)
    return images.masked_fill((ys >= y0) & (ys < y0 + size) & (xs >= x0) & (xs < x0 + size), 0.0)


class Batches:
    """Iterating gives the batches of one epoch."""

    def __init__(self, images, labels, batch_size, aug):
        self.source, self.labels, self.batch_size, self.aug = images, labels, batch_size, aug

    def __len__(self):
        return len(self.source) // self.batch_size

    def __iter__(self):
        images = batch_crop(batch_flip_lr(self.source), self.aug["translate"])
        images = batch_cutout(images, self.aug["cutout"])
        order = torch.randperm(len(images))
        for i in range(len(self)):
            idx = order[i * self.batch_size : (i + 1) * self.batch_size]
            yield images[idx], self.labels[idx]


# ---- network ----


class ConvGroup(nn.Module):
    def __init__(self, c_in, c_out):
        super().__init__()
        self.conv1 = nn.Conv2d(c_in, c_out, 3, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(c_out, momentum=0.4)  # torch's momentum is 1 - everybody's momentum
        self.conv2 = nn.Conv2d(c_out, c_out, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(c_out, momentum=0.4)

    def forward(self, x):
        x = F.relu(self.norm1(F.max_pool2d(self.conv1(x), 2)))
        return x + F.relu(self.norm2(self.conv2(x)))


class SpeedNet(nn.Module):
    def __init__(self, widths, scaling, num_classes=2):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 12, 3, padding=1, bias=False), nn.BatchNorm2d(12, momentum=0.4), nn.ReLU())
        self.groups = nn.Sequential(*[ConvGroup(a, b) for a, b in zip((12, *widths), widths)])
        self.head = nn.Linear(widths[-1], num_classes, bias=False)
        self.scaling = scaling

    def forward(self, x):
        x = self.groups(self.stem(x))
        return self.head(x.amax(dim=(2, 3))) * self.scaling


class NetworkEMA(nn.Module):
    def __init__(self, net, decay):
        super().__init__()
        self.net, self.decay = copy.deepcopy(net).requires_grad_(False), decay

    @torch.no_grad()
    def update(self, net):
        for mine, theirs in zip(self.net.state_dict().values(), net.state_dict().values()):
            if mine.dtype.is_floating_point:
                mine.lerp_(theirs, 1 - self.decay)


# ---- training ----


def make_optimizer(net, opt):
    """Two groups: norms and biases, and the rest. The rate is set before each step."""
    thin = [p for p in net.parameters() if p.ndim == 1]
    thick = [p for p in net.parameters() if p.ndim > 1]
    kilostep = 1024 * (1 + 1 / (1 - opt["momentum"]))  # also decoupled from the momentum
    lr, wd = opt["lr"] / kilostep, opt["weight_decay"] * 1024 / kilostep
    groups = [
        {"params": thin, "peak": lr * opt["bias_scaler"], "weight_decay": wd / opt["bias_scaler"]},
        {"params": thick, "peak": lr, "weight_decay": wd},
    ]
    return torch.optim.SGD(groups, lr=1e-6, momentum=opt["momentum"], nesterov=True)


def triangle(step, total, peak):
    """0.2 at the start, 1 at the peak, 0 at the end."""
    return float(np.interp(step / total, [0, peak, 1], [0.2, 1, 0]))


@torch.no_grad()
def evaluate(net, images, labels):
    """Test time augmentation: the image and its mirror image."""
    net.eval()
    logits = torch.cat([net(x) + net(x.flip(-1)) for x in images.split(80)])
    return (logits.argmax(1) == labels).float().mean().item()


opt = hyp["opt"]
train_images, train_labels = load("train")
eval_images, eval_labels = load("valid")
batches = Batches(train_images, train_labels, opt["batch_size"], hyp["aug"])
total_steps = opt["epochs"] * len(batches)

net = SpeedNet(**hyp["net"])
ema = NetworkEMA(net, opt["ema"])
optimizer = make_optimizer(net, opt)
loss_fn = nn.CrossEntropyLoss(label_smoothing=opt["label_smoothing"], reduction="sum")
hook = clearsight.Hook(os.environ["OUT"]).watch(net, loss=loss_fn, optimizer=optimizer)

print("epoch  train_loss  train_acc  val_acc  ema_val_acc  seconds")
step, start = 0, time.perf_counter()
for epoch in range(opt["epochs"]):
    net.train()
    for inputs, targets in batches:
        factor = triangle(step, total_steps, opt["peak"])
        for group in optimizer.param_groups:
            group["lr"] = group["peak"] * factor
        outputs = net(inputs)
        loss = loss_fn(outputs, targets)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        ema.update(net)
        step += 1
    train_acc = (outputs.detach().argmax(1) == targets).float().mean().item()
    val_acc, ema_acc = evaluate(net, eval_images, eval_labels), evaluate(ema.net, eval_images, eval_labels)
    row = (epoch, loss.item() / len(targets), train_acc, val_acc, ema_acc, time.perf_counter() - start)
    print("%5d  %10.4f  %9.4f  %7.4f  %11.4f  %7.1f" % row)

hook.close()
final_model = ema.net
reported = ema_acc
