"""Train a small squeeze-and-excitation network on a folder of scenes, in the manner of a reference recipe."""
import os
import time
from argparse import Namespace
from collections import defaultdict
from pathlib import Path

import torch
import torchvision.transforms as T
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, SequentialLR
from torch.optim.swa_utils import AveragedModel, get_ema_avg_fn
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder

import clearsight

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class MetricLogger:
    def __init__(self):
        self.sums, self.counts = defaultdict(float), defaultdict(int)

    def update(self, n=1, **values):
        for name, value in values.items():
            self.sums[name] += float(value) * n
            self.counts[name] += n

    def __getattr__(self, name):
        return self.sums[name] / max(1, self.counts[name])


class SqueezeExcite(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.gate = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(width, width // 4, 1), nn.ReLU(), nn.Conv2d(width // 4, width, 1), nn.Sigmoid()
        )

    def forward(self, x):
        return x * self.gate(x)


class Block(nn.Module):
    def __init__(self, inp, out, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inp, out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(out)
        self.conv2 = nn.Conv2d(out, out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(out)
        self.se = SqueezeExcite(out)
        self.skip = nn.Sequential(nn.Conv2d(inp, out, 1, stride, bias=False), nn.BatchNorm2d(out))
        self.relu = nn.ReLU()

    def forward(self, x):
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.se(self.bn2(self.conv2(out)))
        return self.relu(out + self.skip(x))


class SENet(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2))
        self.layers = nn.Sequential(Block(16, 24, 1), Block(24, 48, 2), Block(48, 96, 2))
        self.fc = nn.Linear(96, num_classes)

    def forward(self, x):
        return self.fc(self.layers(self.stem(x)).mean(dim=(2, 3)))


def set_weight_decay(model, weight_decay, norm_weight_decay):
    norm, other = [], []
    for module in model.modules():
        for p in module.parameters(recurse=False):
            if isinstance(module, nn.BatchNorm2d):
                norm.append(p)
            else:
                other.append(p)
    return [{"params": norm, "weight_decay": norm_weight_decay}, {"params": other, "weight_decay": weight_decay}]


def load_data(args):
    train_tf = T.Compose([T.RandomHorizontalFlip(), T.ToTensor(), T.Normalize(MEAN, STD)])
    val_tf = T.Compose([T.ToTensor(), T.Normalize(MEAN, STD)])
    train, val = ImageFolder(args.data / "train", train_tf), ImageFolder(args.data / "valid", val_tf)
    return (
        DataLoader(train, batch_size=args.batch_size, shuffle=True, drop_last=True),
        DataLoader(val, batch_size=args.batch_size, shuffle=False),
    )


def train_one_epoch(model, criterion, optimizer, data_loader, device, epoch, args, lr_scheduler, model_ema=None):
    model.train()
    metric_logger = MetricLogger()
    for i, (image, target) in enumerate(data_loader):
        image, target = image.to(device), target.to(device)
        output = model(image)
        loss = criterion(output, target)
        optimizer.zero_grad()
        loss.backward()
        if args.clip_grad_norm is not None:
            nn.utils.clip_grad_norm_(model.parameters(), args.clip_grad_norm)
        optimizer.step()
        lr_scheduler.step()
        if model_ema:
            model_ema.update_parameters(model)
        metric_logger.update(n=len(image), loss=loss.item(), acc1=(output.argmax(1) == target).float().mean())
    print(f"Epoch [{epoch}] loss {metric_logger.loss:.3f} acc1 {metric_logger.acc1:.3f}")


def evaluate(model, criterion, data_loader, device):
    model.eval()
    metric_logger = MetricLogger()
    with torch.inference_mode():
        for image, target in data_loader:
            image, target = image.to(device), target.to(device)
            output = model(image)
            acc1 = (output.argmax(1) == target).float().mean()
            metric_logger.update(n=len(image), loss=criterion(output, target), acc1=acc1)
    print(f"Test: loss {metric_logger.loss:.3f} acc1 {metric_logger.acc1:.3f}")
    return metric_logger.acc1


args = Namespace(
    data=Path(os.environ["DATA"]), batch_size=32, epochs=8, lr=0.1, momentum=0.9, weight_decay=5e-4, norm_weight_decay=0.0,
    lr_warmup_epochs=1, label_smoothing=0.0, clip_grad_norm=None, ema_decay=0.9, device="cpu",
)  # fmt: skip
torch.manual_seed(int(os.environ["SEED"]))
torch.set_num_threads(1)
device = torch.device(args.device)
data_loader, data_loader_test = load_data(args)

model = SENet(len(data_loader.dataset.classes)).to(device)
criterion = nn.CrossEntropyLoss(label_smoothing=args.label_smoothing)
parameters = set_weight_decay(model, args.weight_decay, args.norm_weight_decay)
optimizer = torch.optim.SGD(parameters, lr=args.lr, momentum=args.momentum)

steps = len(data_loader)
warmup = LinearLR(optimizer, start_factor=0.05, total_iters=args.lr_warmup_epochs * steps)
cosine = CosineAnnealingLR(optimizer, T_max=(args.epochs - args.lr_warmup_epochs) * steps)
lr_scheduler = SequentialLR(optimizer, [warmup, cosine], milestones=[args.lr_warmup_epochs * steps])
model_ema = AveragedModel(model, avg_fn=get_ema_avg_fn(args.ema_decay), use_buffers=True)

hook = clearsight.Hook(os.environ["OUT"]).watch(model, loss=criterion, optimizer=optimizer)
start_time = time.time()
for epoch in range(args.epochs):
    train_one_epoch(model, criterion, optimizer, data_loader, device, epoch, args, lr_scheduler, model_ema)
    acc1 = evaluate(model_ema, criterion, data_loader_test, device)
print(f"Training time {time.time() - start_time:.0f} s, acc1 {acc1:.3f}")
hook.close()

final_model = model_ema.module
reported = acc1
