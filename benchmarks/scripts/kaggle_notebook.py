# Scene classification: mobilenet baseline, one fold
import copy
import math
import os
import random
from collections import Counter
from pathlib import Path

import numpy as np
import timm
import torch
import torch.nn as nn
from safetensors.torch import load_file
from torch.utils.data import DataLoader, Dataset, RandomSampler

import clearsight


class CFG:
    seed = int(os.environ["SEED"])
    model_name = "mobilenetv2_100"
    weights = Path(os.environ["CLEARSIGHT_SHARED"]) / "weights" / "mobilenetv2_100_imagenet.safetensors"
    num_classes = 6
    n_fold = 5
    fold = 0
    epochs = 4
    batch_size = 24
    lr = 8e-4
    min_lr = 1e-5
    weight_decay = 1e-2
    T_0 = 2
    smoothing = 0.05
    mean = np.array([0.5, 0.5, 0.5], dtype=np.float32)
    std = np.array([0.5, 0.5, 0.5], dtype=np.float32)


def seed_everything(seed):
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


seed_everything(CFG.seed)
torch.set_num_threads(1)

data = np.load(Path(os.environ["DATA"]) / "images.npz")
images = data["x_train"]
# the table of the images, a dict of columns
df = {"image_id": np.arange(len(images)), "label": data["y_train"].copy()}
df["fold"] = np.random.RandomState(CFG.seed).permutation(len(images)) % CFG.n_fold
train_df = {k: v[df["fold"] != CFG.fold] for k, v in df.items()}
valid_df = {k: v[df["fold"] == CFG.fold] for k, v in df.items()}
print(len(train_df["label"]), len(valid_df["label"]), sorted(Counter(train_df["label"].tolist()).items()))


class SceneDataset(Dataset):
    def __init__(self, table, augment=False):
        self.ids, self.labels, self.augment = table["image_id"], table["label"], augment

    def __len__(self):
        return len(self.ids)

    def __getitem__(self, i):
        img = images[self.ids[i]].astype(np.float32) / 255.0
        if self.augment:
            if np.random.rand() < 0.5:
                img = img[:, ::-1]
            dy, dx = np.random.randint(-4, 5, 2)
            img = np.roll(img, (dy, dx), axis=(0, 1))
        img = (img - CFG.mean) / CFG.std
        img = np.ascontiguousarray(img.transpose(2, 0, 1))
        return torch.from_numpy(img), int(self.labels[i])


class AverageMeter:
    def __init__(self):
        self.reset()

    def reset(self):
        self.sum, self.count = 0.0, 0

    def update(self, val, n=1):
        self.sum += val * n
        self.count += n

    @property
    def avg(self):
        return self.sum / max(1, self.count)


def build_model(pretrained=True):
    model = timm.create_model(CFG.model_name, pretrained=False, num_classes=CFG.num_classes)
    model.classifier = nn.Linear(model.num_features, CFG.num_classes)
    if pretrained:
        state = {k: v for k, v in load_file(CFG.weights).items() if not k.startswith("classifier")}
        model.load_state_dict(state, strict=False)
    return model


def train_fn(loader, model, criterion, optimizer, scheduler, epoch):
    model.train()
    losses = AverageMeter()
    for step, (x, y) in enumerate(loader):
        y_preds = model(x)
        loss = criterion(y_preds, y)
        losses.update(loss.item(), len(x))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        scheduler.step(epoch + step / len(loader))
    return losses.avg


def valid_fn(loader, model, criterion):
    model.eval()
    losses, accs = AverageMeter(), AverageMeter()
    for x, y in loader:
        with torch.no_grad():
            y_preds = model(x)
            loss = criterion(y_preds, y)
        losses.update(loss.item(), len(x))
        accs.update((y_preds.argmax(1) == y).float().mean().item(), len(x))
    return losses.avg, accs.avg


train_ds = SceneDataset(train_df, augment=True)
valid_ds = SceneDataset(valid_df)
train_loader = DataLoader(train_ds, batch_size=CFG.batch_size, sampler=RandomSampler(train_ds), drop_last=True)
valid_loader = DataLoader(valid_ds, batch_size=CFG.batch_size, shuffle=False)

model = build_model()
criterion = nn.CrossEntropyLoss(label_smoothing=CFG.smoothing)
optimizer = torch.optim.AdamW(model.parameters(), lr=CFG.lr, weight_decay=CFG.weight_decay)
scheduler = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, T_0=CFG.T_0, eta_min=CFG.min_lr)

hook = clearsight.Hook(os.environ["OUT"]).watch(model, loss=criterion, optimizer=optimizer)

best_score, best_state = -math.inf, None
for epoch in range(CFG.epochs):
    train_loss = train_fn(train_loader, model, criterion, optimizer, scheduler, epoch)
    valid_loss, score = valid_fn(valid_loader, model, criterion)
    print(f"Epoch {epoch + 1} - train {train_loss:.4f} valid {valid_loss:.4f} acc {score:.4f}")
    if score > best_score:
        best_score = score
        best_state = copy.deepcopy(model.state_dict())
hook.close()
print(f"CV {best_score:.4f}")

final_model = build_model(pretrained=False)
final_model.load_state_dict(best_state)
reported = best_score
