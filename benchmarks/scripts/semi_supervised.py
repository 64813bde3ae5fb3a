"""Semi-supervised scene classification after FixMatch: few labelled images, many unlabelled ones, an EMA teacher."""

import copy
import math
import os
import random
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

import clearsight

DATA = Path(os.environ["DATA"])
MEAN, STD = (0.45, 0.45, 0.45), (0.25, 0.25, 0.25)


@dataclass
class Config:
    seed: int = int(os.environ["SEED"])
    per_class: int = 50
    batch_labelled: int = 32
    batch_unlabelled: int = 32
    epochs: int = 13
    lr: float = 0.05
    momentum: float = 0.9
    weight_decay: float = 5e-4
    threshold: float = 0.9
    lambda_u: float = 0.5
    rampup_epochs: float = 4
    ema_decay: float = 0.95


weak = [transforms.RandomHorizontalFlip(), transforms.RandomCrop(32, padding=3, padding_mode="reflect")]
strong = [transforms.RandomApply([transforms.ColorJitter(0.5, 0.5, 0.5)], p=0.8), transforms.RandomGrayscale(0.1)]
to_tensor = [transforms.ToTensor(), transforms.Normalize(MEAN, STD)]
weak_transform = transforms.Compose(weak + to_tensor)
strong_transform = transforms.Compose(weak + strong + to_tensor + [transforms.RandomErasing(p=0.5, scale=(0.05, 0.2))])
valid_transform = transforms.Compose(to_tensor)


class LabelledFiles(Dataset):
    """Images whose class is the name of their folder."""

    def __init__(self, files, transform):
        self.classes = sorted({f.parent.name for f in files})
        self.targets = [self.classes.index(f.parent.name) for f in files]
        self.images = [Image.open(f).convert("RGB") for f in files]
        self.transform = transform

    def __len__(self):
        return len(self.images)

    def __getitem__(self, i):
        return self.transform(self.images[i]), self.targets[i]


class UnlabelledFiles(Dataset):
    """Two views of each image, one weakly and one strongly augmented. The folders tell nothing here."""

    def __init__(self, files):
        self.images = [Image.open(f).convert("RGB") for f in files]

    def __len__(self):
        return len(self.images)

    def __getitem__(self, i):
        return weak_transform(self.images[i]), strong_transform(self.images[i])


def split_files(files, per_class, seed):
    """Return so many labelled files of each class, and all others."""
    files = list(files)
    random.Random(seed).shuffle(files)
    by_class = defaultdict(list)
    for f in files:
        by_class[f.parent.name].append(f)
    chosen = {f for group in by_class.values() for f in group[:per_class]}
    return [f for f in files if f in chosen], [f for f in files if f not in chosen]


def infinite(loader):
    while True:
        yield from loader


class BasicBlock(nn.Module):
    def __init__(self, cin, cout, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(cin, cout, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(cout)
        self.conv2 = nn.Conv2d(cout, cout, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(cout)
        self.shortcut = nn.Conv2d(cin, cout, 1, stride, bias=False)

    def forward(self, x):
        out = F.leaky_relu(self.bn1(self.conv1(x)), 0.1)
        return F.leaky_relu(self.bn2(self.conv2(out)) + self.shortcut(x), 0.1)


class SmallResNet(nn.Module):
    def __init__(self, num_classes, widths=(24, 48, 96)):
        super().__init__()
        self.stem = nn.Conv2d(3, widths[0], 3, 2, 1, bias=False)
        self.bn = nn.BatchNorm2d(widths[0])
        cins = (widths[0], *widths[:-1])
        self.layers = nn.Sequential(*[BasicBlock(a, b, 1 + (i > 0)) for i, (a, b) in enumerate(zip(cins, widths))])
        self.fc = nn.Linear(widths[-1], num_classes)
        for m in self.modules():
            if isinstance(m, nn.Conv2d):
                nn.init.kaiming_normal_(m.weight, mode="fan_out", nonlinearity="leaky_relu")

    def forward(self, x):
        x = self.layers(F.leaky_relu(self.bn(self.stem(x)), 0.1))
        return self.fc(x.mean(dim=(2, 3)))


class EMA:
    """Teacher: the moving average of the student's weights."""

    def __init__(self, model, decay):
        self.module = copy.deepcopy(model).eval().requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def update(self, model):
        for t, s in zip(self.module.parameters(), model.parameters()):
            t.mul_(self.decay).add_(s, alpha=1 - self.decay)
        for t, s in zip(self.module.buffers(), model.buffers()):
            t.copy_(s)


class Trainer:
    def __init__(self, cfg, model, labelled, unlabelled, valid):
        self.cfg, self.model = cfg, model
        self.labelled, self.unlabelled, self.valid = labelled, unlabelled, valid
        self.ema = EMA(model, cfg.ema_decay)
        self.steps_per_epoch = len(unlabelled)
        self.optimizer = torch.optim.SGD(
            self.model.parameters(), cfg.lr, momentum=cfg.momentum, weight_decay=cfg.weight_decay, nesterov=True
        )
        total = cfg.epochs * self.steps_per_epoch
        self.scheduler = LambdaLR(self.optimizer, lambda k: 0.5 * (1 + math.cos(math.pi * min(1.0, k / total))))
        self.labelled_iter, self.unlabelled_iter = infinite(labelled), infinite(unlabelled)
        self.global_step = 0
        self.scalars = defaultdict(list)  # tag: [(step, value), ...], as a SummaryWriter would keep them

    def add_scalar(self, tag, value):
        self.scalars[tag].append((self.global_step, float(value)))

    def unlabelled_weight(self):
        """Gaussian ramp-up of Laine and Aila."""
        t = min(1.0, self.global_step / (self.cfg.rampup_epochs * self.steps_per_epoch))
        return self.cfg.lambda_u * math.exp(-5.0 * (1.0 - t) ** 2)

    def train_one_epoch(self):
        self.model.train()
        for _ in range(self.steps_per_epoch):
            x, y = next(self.labelled_iter)
            u_weak, u_strong = next(self.unlabelled_iter)
            logits = self.model(torch.cat([x, u_weak, u_strong]))
            logits_x, logits_w, logits_s = logits.split([len(x), len(u_weak), len(u_strong)])

            probs = F.softmax(logits_w.detach(), dim=1)
            confidence, pseudo = probs.max(dim=1)
            mask = (confidence >= self.cfg.threshold).float()
            loss_x = F.cross_entropy(logits_x, y)
            loss_u = (F.cross_entropy(logits_s, pseudo, reduction="none") * mask).mean()
            loss = loss_x + self.unlabelled_weight() * loss_u

            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            self.scheduler.step()
            self.ema.update(self.model)
            self.global_step += 1
            self.add_scalar("train/loss_x", loss_x.item())
            self.add_scalar("train/loss_u", loss_u.item())
            self.add_scalar("train/mask", mask.mean().item())

    @torch.no_grad()
    def validate(self, loader):
        self.ema.module.eval()
        correct = total = 0
        for images, targets in loader:
            predictions = self.ema.module(images).argmax(dim=1)
            correct += (predictions == targets).sum().item()
            total += len(targets)
        return correct / total

    def fit(self):
        for epoch in range(self.cfg.epochs):
            self.train_one_epoch()
            self.add_scalar("valid/accuracy", self.validate(self.valid))
            last = {tag: values[-1][1] for tag, values in self.scalars.items()}
            print(f"epoch {epoch + 1:2d}  " + "  ".join(f"{tag} {value:.3f}" for tag, value in last.items()))
        return self.scalars["valid/accuracy"][-1][1]


cfg = Config()
random.seed(cfg.seed)
torch.manual_seed(cfg.seed)
torch.set_num_threads(1)

train_files = sorted((DATA / "train").glob("*/*.png"))
labelled_files, unlabelled_files = split_files(train_files, cfg.per_class, cfg.seed)
labelled_set = LabelledFiles(labelled_files, weak_transform)
unlabelled_set = UnlabelledFiles(unlabelled_files)
valid_set = LabelledFiles(sorted((DATA / "valid").glob("*/*.png")), valid_transform)
print(f"{len(labelled_set)} labelled, {len(unlabelled_set)} unlabelled, {len(valid_set)} for validation")
labelled_loader = DataLoader(labelled_set, batch_size=cfg.batch_labelled, shuffle=True, drop_last=True)
unlabelled_loader = DataLoader(unlabelled_set, batch_size=cfg.batch_unlabelled, shuffle=True, drop_last=True)
valid_loader = DataLoader(valid_set, batch_size=80)

trainer = Trainer(cfg, SmallResNet(len(valid_set.classes)), labelled_loader, unlabelled_loader, valid_loader)
hook = clearsight.Hook(os.environ["OUT"]).watch(trainer.model, optimizer=trainer.optimizer)
reported = trainer.fit()
hook.close()
final_model = trainer.ema.module
