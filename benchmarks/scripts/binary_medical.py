"""Skin lesions, benign or malignant: one logit, balanced batches, the epoch with the best AUC is kept."""

import copy
import os
from pathlib import Path

import numpy as np
import torch
from sklearn.metrics import roc_auc_score
from torch import nn
from torch.utils.data import DataLoader, Dataset, WeightedRandomSampler

import clearsight

ROOT = Path(os.environ["DATA"])
SEED = int(os.environ["SEED"])
EPOCHS, BATCH, ACCUMULATE, LR = 8, 16, 2, 1.5e-3
POS_WEIGHT = 1.2  # missing a malignant lesion is worse
MEAN, STD = np.float32([0.7, 0.55, 0.5]), np.float32([0.2, 0.2, 0.2])
torch.manual_seed(SEED)
np.random.seed(SEED)
torch.set_num_threads(1)


class LesionDataset(Dataset):
    """One lesion of the archive with its diagnosis."""

    def __init__(self, archive, split, augment=False):
        with np.load(archive) as file:
            self.images = file[f"x_{split}"].astype(np.float32) / 255
            self.targets = file[f"y_{split}"].astype(np.float32)
        self.augment = augment

    def __len__(self):
        return len(self.targets)

    def __getitem__(self, index):
        image, target = self.images[index], self.targets[index]
        if self.augment:
            image = np.rot90(image, np.random.randint(4))
            if np.random.rand() < 0.5:
                image = image[:, ::-1]
            image = np.clip(image * np.random.uniform(0.9, 1.1), 0, 1)
        image = (image - MEAN) / STD
        return torch.from_numpy(image.transpose(2, 0, 1).copy()), target


class SqueezeExcite(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.gate = nn.Sequential(
            nn.Linear(channels, channels // 4), nn.SiLU(), nn.Linear(channels // 4, channels), nn.Sigmoid()
        )

    def forward(self, x):
        return x * self.gate(x.mean(dim=(2, 3)))[:, :, None, None]


def stage(c_in, c_out):
    return nn.Sequential(
        nn.Conv2d(c_in, c_out, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(c_out),
        nn.SiLU(),
        nn.Conv2d(c_out, c_out, 3, padding=1, bias=False),
        nn.BatchNorm2d(c_out),
        nn.SiLU(),
        SqueezeExcite(c_out),
    )


class LesionNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(stage(3, 24), stage(24, 48), stage(48, 80))
        self.head = nn.Sequential(nn.Dropout(0.2), nn.Linear(80, 1))

    def forward(self, x):
        x = self.features(x)
        return self.head(torch.amax(x, dim=(2, 3)))


train_set = LesionDataset(ROOT / "images.npz", "train", augment=True)
valid_set = LesionDataset(ROOT / "images.npz", "valid")
counts = np.bincount(train_set.targets.astype(int))
sample_weights = [1 / counts[int(target)] for target in train_set.targets]
balanced = WeightedRandomSampler(sample_weights, num_samples=len(train_set))
train_loader = DataLoader(train_set, batch_size=BATCH, sampler=balanced, drop_last=True)
valid_loader = DataLoader(valid_set, batch_size=40)

model = LesionNet()
criterion = nn.BCEWithLogitsLoss(pos_weight=torch.tensor([POS_WEIGHT]))
optimizer = torch.optim.AdamW(model.parameters(), lr=LR, weight_decay=0.01)
scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, mode="max", factor=0.3, patience=2)


def train_one_epoch():
    model.train()
    total = 0.0
    optimizer.zero_grad()
    for step, (images, targets) in enumerate(train_loader):
        logits = model(images)
        loss = criterion(logits, targets.unsqueeze(1)) / ACCUMULATE
        loss.backward()
        if (step + 1) % ACCUMULATE == 0:
            optimizer.step()
            optimizer.zero_grad()
        total += loss.item() * ACCUMULATE
    return total / len(train_loader)


@torch.no_grad()
def validate(network):
    network.eval()
    probabilities, truth = [], []
    for images, targets in valid_loader:
        probabilities.append(torch.sigmoid(network(images)).squeeze(1))
        truth.append(targets)
    probabilities, truth = torch.cat(probabilities).numpy(), torch.cat(truth).numpy()
    return roc_auc_score(truth, probabilities), float(((probabilities > 0.5) == truth).mean())


hook = clearsight.Hook(os.environ["OUT"]).watch(model, loss=criterion, optimizer=optimizer)
best_auc, best_state, reported = 0.0, copy.deepcopy(model.state_dict()), 0.0
for epoch in range(EPOCHS):
    train_loss = train_one_epoch()
    auc, accuracy = validate(model)
    scheduler.step(auc)
    print(f"{epoch + 1:2d} loss {train_loss:.3f} auc {auc:.3f} accuracy {accuracy:.3f} lr {optimizer.param_groups[0]['lr']:.1e}")
    if auc > best_auc:
        best_auc, best_state, reported = auc, copy.deepcopy(model.state_dict()), accuracy
hook.close()

model.load_state_dict(best_state)
final_model = model
print(f"best AUC {best_auc:.3f}, accuracy {reported:.3f}")
