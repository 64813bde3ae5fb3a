# LDAM-DRW on a long-tailed version of a small image folder
import copy
import os
from pathlib import Path

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
import torchvision.transforms as transforms
from torch.optim.lr_scheduler import MultiStepLR
from torch.utils.data import DataLoader, WeightedRandomSampler
from torchvision.datasets import ImageFolder

import clearsight


class Config:
    data = Path(os.environ["DATA"])
    seed = int(os.environ["SEED"])
    imb_factor = 0.05
    loss_type = "LDAM"  # CE or LDAM
    train_rule = "DRW"  # None, Resample, Reweight, DRW
    epochs = 16
    defer_epoch = 12
    milestones = (11, 14)
    batch_size = 32
    lr = 0.05
    momentum = 0.9
    weight_decay = 5e-4
    beta = 0.999


cfg = Config()
np.random.seed(cfg.seed)
torch.manual_seed(cfg.seed)
torch.set_num_threads(1)


class ImbalanceFolder(ImageFolder):
    """Keeps the first images of each class, in numbers that fall exponentially from the first class to the last."""

    def __init__(self, root, imb_factor, transform=None):
        super().__init__(root, transform=transform)
        targets = np.array(self.targets)
        self.cls_num = len(self.classes)
        img_max = len(targets) / self.cls_num
        samples = []
        for c in range(self.cls_num):
            num = max(int(img_max * imb_factor ** (c / (self.cls_num - 1.0))), 1)
            idx = np.where(targets == c)[0]
            np.random.shuffle(idx)
            samples += [(self.samples[i][0], c) for i in idx[:num]]
        self.samples = self.imgs = samples
        self.targets = [c for _, c in samples]

    def get_cls_num_list(self):
        return [self.targets.count(c) for c in range(self.cls_num)]


class NormedLinear(nn.Module):
    def __init__(self, in_features, out_features):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(in_features, out_features))
        self.weight.data.uniform_(-1, 1).renorm_(2, 1, 1e-5).mul_(1e5)

    def forward(self, x):
        return F.normalize(x, dim=1).mm(F.normalize(self.weight, dim=0))


class BasicBlock(nn.Module):
    def __init__(self, in_planes, planes, stride=1):
        super().__init__()
        self.stride, self.extra = stride, planes - in_planes
        self.conv1 = nn.Conv2d(in_planes, planes, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)

    def forward(self, x):
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        # option A: the shortcut has no parameters
        shortcut = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.extra))
        return F.relu(out + shortcut)


class ResNetS(nn.Module):
    def __init__(self, num_classes, use_norm, width=16):
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 3, stride=2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.layer1 = BasicBlock(width, width)
        self.layer2 = BasicBlock(width, 2 * width, stride=2)
        self.layer3 = BasicBlock(2 * width, 4 * width, stride=2)
        self.linear = NormedLinear(4 * width, num_classes) if use_norm else nn.Linear(4 * width, num_classes)
        for m in self.modules():
            if isinstance(m, nn.Conv2d):
                nn.init.kaiming_normal_(m.weight)

    def forward(self, x):
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.layer3(self.layer2(self.layer1(out)))
        out = F.adaptive_avg_pool2d(out, 1).flatten(1)
        return self.linear(out)


class LDAMLoss(nn.Module):
    """Cross entropy with a margin that is larger for rare classes."""

    def __init__(self, cls_num_list, max_m=0.5, weight=None, s=20):
        super().__init__()
        m_list = 1.0 / np.sqrt(np.sqrt(cls_num_list))
        self.m_list = torch.tensor(m_list * (max_m / np.max(m_list)), dtype=torch.float32)
        self.s, self.weight = s, weight

    def forward(self, x, target):
        index = F.one_hot(target, x.shape[1]).bool()
        x_m = x - self.m_list[target][:, None]
        output = torch.where(index, x_m, x)
        return F.cross_entropy(self.s * output, target, weight=self.weight)


class AverageMeter:
    def __init__(self, name):
        self.name = name
        self.val = self.sum = self.count = self.avg = 0

    def update(self, val, n=1):
        self.val = val
        self.sum += val * n
        self.count += n
        self.avg = self.sum / self.count

    def __str__(self):
        return f"{self.name} {self.val:.4f} ({self.avg:.4f})"


def class_weights(epoch, cls_num_list):
    """Weights by the effective number of samples (Cui et al. 2019); None before re-weighting starts."""
    if cfg.train_rule == "Reweight" or (cfg.train_rule == "DRW" and epoch >= cfg.defer_epoch):
        effective_num = 1.0 - np.power(cfg.beta, cls_num_list)
        weights = (1.0 - cfg.beta) / effective_num
        return torch.tensor(weights / weights.sum() * len(cls_num_list), dtype=torch.float32)
    return None


def train(loader, model, criterion, optimizer, epoch):
    losses, top1 = AverageMeter("Loss"), AverageMeter("Acc@1")
    model.train()
    for i, (images, target) in enumerate(loader):
        output = model(images)
        loss = criterion(output, target)
        losses.update(loss.item(), len(target))
        top1.update((output.argmax(1) == target).float().mean().item(), len(target))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if i % 5 == 0:
            print(f"Epoch [{epoch}][{i}/{len(loader)}] lr {optimizer.param_groups[0]['lr']:.5f} {losses} {top1}")


def validate(loader, model, criterion, confusion):
    losses = AverageMeter("Loss")
    model.eval()
    with torch.no_grad():
        for images, target in loader:
            output = model(images)
            losses.update(criterion(output, target).item(), len(target))
            np.add.at(confusion, (target.numpy(), output.argmax(1).numpy()), 1)
    cls_acc = confusion.diagonal() / confusion.sum(1)
    print(f"val {losses} per class " + " ".join(f"{a:.2f}" for a in cls_acc))
    return cls_acc.mean()


normalize = transforms.Normalize([0.305] * 3, [0.324] * 3)
transform_train = transforms.Compose([transforms.RandomCrop(28, padding=2), transforms.ToTensor(), normalize])
transform_val = transforms.Compose([transforms.ToTensor(), normalize])
train_dataset = ImbalanceFolder(str(cfg.data / "train"), cfg.imb_factor, transform=transform_train)
val_dataset = ImageFolder(str(cfg.data / "valid"), transform=transform_val)
cls_num_list = train_dataset.get_cls_num_list()
print("cls num list:", cls_num_list)

train_sampler = None
if cfg.train_rule == "Resample":
    sample_weights = [1.0 / cls_num_list[t] for t in train_dataset.targets]
    train_sampler = WeightedRandomSampler(sample_weights, len(train_dataset))
train_loader = DataLoader(train_dataset, cfg.batch_size, shuffle=(train_sampler is None), sampler=train_sampler)
val_loader = DataLoader(val_dataset, batch_size=40, shuffle=False)

model = ResNetS(len(cls_num_list), use_norm=cfg.loss_type == "LDAM")
optimizer = torch.optim.SGD(model.parameters(), cfg.lr, momentum=cfg.momentum, weight_decay=cfg.weight_decay)
scheduler = MultiStepLR(optimizer, milestones=cfg.milestones, gamma=0.1)
hook = clearsight.Hook(os.environ["OUT"]).watch(model, optimizer=optimizer)

best_acc, best_state = 0.0, copy.deepcopy(model.state_dict())
for epoch in range(cfg.epochs):
    weights = class_weights(epoch, cls_num_list)
    if cfg.loss_type == "LDAM":
        criterion = LDAMLoss(cls_num_list, weight=weights)
    else:
        criterion = nn.CrossEntropyLoss(weight=weights)
    train(train_loader, model, criterion, optimizer, epoch)
    confusion = np.zeros((len(cls_num_list), len(cls_num_list)), dtype=np.int64)
    bal_acc = validate(val_loader, model, criterion, confusion)
    scheduler.step()
    print(f"Epoch {epoch}: balanced accuracy {bal_acc:.4f}, best {max(best_acc, bal_acc):.4f}")
    if bal_acc > best_acc:
        best_acc, best_state = bal_acc, copy.deepcopy(model.state_dict())

hook.close()
model.load_state_dict(best_state)
final_model = model
reported = float(best_acc)
