"""Animal or vehicle: fine-tune a pretrained network in two phases."""
import os
from pathlib import Path

import numpy as np
import timm
import torch
from safetensors.torch import load_file
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import clearsight

DATA = Path(os.environ["DATA"])
WEIGHTS = Path(os.environ["CLEARSIGHT_SHARED"]) / "weights" / "mobilenetv2_100_imagenet.safetensors"
HEAD_EPOCHS, FULL_EPOCHS, BATCH = 2, 4, 32
HEAD_LR, BACKBONE_LR = 1e-2, 3e-4

torch.manual_seed(int(os.environ["SEED"]))
torch.set_num_threads(1)


def to_tensor(pixels):
    x = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255.0
    return (x - 0.5) / 0.5


arrays = np.load(DATA / "images.npz")
x_train, y_train = to_tensor(arrays["x_train"]), torch.from_numpy(arrays["y_train"])
x_valid, y_valid = to_tensor(arrays["x_valid"]), torch.from_numpy(arrays["y_valid"])
train_loader = DataLoader(TensorDataset(x_train, y_train), batch_size=BATCH, shuffle=True, drop_last=True)
valid_loader = DataLoader(TensorDataset(x_valid, y_valid), batch_size=BATCH)


class Classifier(nn.Module):
    """A pretrained backbone and a head with one output, the logit of an animal."""

    def __init__(self, dropout=0.2):
        super().__init__()
        self.backbone = timm.create_model("mobilenetv2_100", pretrained=False, num_classes=0)
        weights = {name: value for name, value in load_file(WEIGHTS).items() if not name.startswith("classifier")}
        self.backbone.load_state_dict(weights)
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(self.backbone.num_features, 1))

    def forward(self, x):
        features = self.backbone(x)
        return self.head(features)


def set_trainable(module, value):
    for parameter in module.parameters():
        parameter.requires_grad = value


def run_epoch(model, loader, criterion, optimizer):
    model.train()
    total, count = 0.0, 0
    for images, labels in loader:
        optimizer.zero_grad()
        logits = model(images)
        targets = labels.float().unsqueeze(1)
        loss = criterion(logits, targets)
        loss.backward()
        optimizer.step()
        total += loss.item() * len(images)
        count += len(images)
    return total / count


@torch.no_grad()
def validate(model, loader, criterion):
    model.eval()
    correct, total, count = 0, 0.0, 0
    for images, labels in loader:
        logits = model(images).squeeze(1)
        predictions = (torch.sigmoid(logits) > 0.5).long()
        correct += (predictions == labels).sum().item()
        total += criterion(logits, labels.float()).item() * len(images)
        count += len(images)
    return total / count, correct / count


model = Classifier()
criterion = nn.BCEWithLogitsLoss()
set_trainable(model.backbone, False)
optimizer = torch.optim.Adam(model.head.parameters(), lr=HEAD_LR)

hook = clearsight.Hook(os.environ["OUT"]).watch(model, loss=criterion, optimizer=optimizer)

# Phase 1: the head alone
for epoch in range(HEAD_EPOCHS):
    train_loss = run_epoch(model, train_loader, criterion, optimizer)
    valid_loss, valid_acc = validate(model, valid_loader, criterion)
    print(f"head {epoch}: train {train_loss:.3f} valid {valid_loss:.3f} acc {valid_acc:.3f}")

# Phase 2: everything, the backbone at a lower rate
set_trainable(model.backbone, True)
optimizer = torch.optim.Adam(
    [
        {"params": model.backbone.parameters(), "lr": BACKBONE_LR},
        {"params": model.head.parameters(), "lr": HEAD_LR / 10},
    ]
)
scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=FULL_EPOCHS)
for epoch in range(FULL_EPOCHS):
    train_loss = run_epoch(model, train_loader, criterion, optimizer)
    scheduler.step()
    valid_loss, valid_acc = validate(model, valid_loader, criterion)
    print(f"full {epoch}: train {train_loss:.3f} valid {valid_loss:.3f} acc {valid_acc:.3f}")
hook.close()

final_model = model
reported = valid_acc
