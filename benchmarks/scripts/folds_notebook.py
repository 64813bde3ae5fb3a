"""Digit recogniser, notebook 03: stratified folds, a small CNN, cosine by hand, early stopping."""

import copy
import math
import os
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
import torchvision.transforms.functional as TF
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import RandomResizedCrop

import clearsight

# %% settings
SEED = int(os.environ["SEED"])
N_FOLDS = 4
TRN_FOLDS = [0, 3]  # the others on the weekend
EPOCHS, PATIENCE = 6, 2
BATCH_SIZE = 16
LR, WEIGHT_DECAY = 3e-3, 1e-2
CROP_SCALE = (0.7, 1.0)
torch.manual_seed(SEED)
torch.set_num_threads(1)
rng = np.random.default_rng(SEED)

# %% the table
npz = np.load(Path(os.environ["DATA"]) / "images.npz")
images, digit = npz["x_train"], npz["y_train"]
n_classes = int(digit.max()) + 1
rows = np.arange(len(images))
# stratified folds: the images of a class are dealt out like cards
fold_of = np.empty(len(rows), dtype=int)
for label in np.unique(digit):
    of_class = rng.permutation(np.flatnonzero(digit[rows] == label))
    fold_of[of_class] = np.arange(len(of_class)) % N_FOLDS
print(len(rows), "rows,", n_classes, "classes,", np.bincount(fold_of), "in the folds")


# %% dataset
class DigitDataset(Dataset):
    def __init__(self, rows, train):
        self.rows, self.train = rows, train
        self.labels = digit[rows]

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, i):
        img = torch.from_numpy(images[self.rows[i]]).permute(2, 0, 1)
        if self.train:
            top, left, h, w = RandomResizedCrop.get_params(img, CROP_SCALE, (0.8, 1.25))
            img = TF.resized_crop(img, top, left, h, w, list(img.shape[1:]), antialias=True)
        img = (img.float() / 255 - 0.5) / 0.5
        return img, int(self.labels[i])


# %% model
def conv(inp, out, stride=1):
    return nn.Sequential(nn.Conv2d(inp, out, 3, stride, 1, bias=False), nn.BatchNorm2d(out), nn.ReLU(inplace=True))


class DigitNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(conv(3, 16), conv(16, 32, 2), conv(32, 32), conv(32, 64, 2), conv(64, 64))
        self.head = nn.Linear(64 * 7 * 7, n_classes)

    def forward(self, x):
        x = self.body(x).flatten(1)
        x = F.dropout(x, 0.3, training=self.training)
        return self.head(x)


def groups_of(model):
    """Weight decay for matrices and filters, none for norms and biases."""
    decay = [p for p in model.parameters() if p.ndim > 1]
    rest = [p for p in model.parameters() if p.ndim <= 1]
    return [{"params": decay, "weight_decay": WEIGHT_DECAY}, {"params": rest, "weight_decay": 0.0}]


# %% training
def set_rate(optimizer, step, total):
    warm = max(1, total // 10)
    factor = (step + 1) / warm if step < warm else 0.5 * (1 + math.cos(math.pi * min(1, (step - warm) / (total - warm))))
    for group in optimizer.param_groups:
        group["lr"] = LR * factor


def evaluate(model, loader):
    model.eval()
    loss, hits, n = 0.0, 0, 0
    with torch.no_grad():
        for x, y in loader:
            out = model(x)
            loss += F.cross_entropy(out, y, reduction="sum").item()
            hits += (out.argmax(1) == y).sum().item()
            n += len(y)
    return loss / n, hits / n


scores = []
criterion = nn.CrossEntropyLoss()
for fold in TRN_FOLDS:
    trn, val = rows[fold_of != fold], rows[fold_of == fold]
    trn_loader = DataLoader(DigitDataset(trn, True), BATCH_SIZE, shuffle=True, drop_last=True)
    val_loader = DataLoader(DigitDataset(val, False), BATCH_SIZE)
    model = DigitNet()
    optimizer = torch.optim.AdamW(groups_of(model), lr=LR)
    if fold == TRN_FOLDS[-1]:  # one fold is enough to look at
        hook = clearsight.Hook(os.environ["OUT"]).watch(model, loss=criterion, optimizer=optimizer)
    total = EPOCHS * len(trn_loader)
    best_loss, best_acc, best_state, bad, step = math.inf, 0.0, None, 0, 0
    for epoch in range(EPOCHS):
        model.train()
        for x, y in trn_loader:
            set_rate(optimizer, step, total)
            loss = criterion(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            step += 1
        val_loss, val_acc = evaluate(model, val_loader)
        print(f"fold {fold} epoch {epoch} train {loss.item():.3f} val {val_loss:.3f} acc {val_acc:.3f}")
        if val_loss < best_loss:
            best_loss, best_acc, bad = val_loss, val_acc, 0
            best_state = copy.deepcopy(model.state_dict())
        else:
            bad += 1
        if bad > PATIENCE:
            break
    if best_state is not None:
        model.load_state_dict(best_state)
    scores.append(best_acc)
hook.close()
print("CV", np.mean(scores), scores)

# %% the model of the last fold goes into the app
final_model = model
reported = scores[-1]
