"""A plain PyTorch script with a common mistake. Arguments: DATA OUT watched|plain."""

import csv
import io
import sys
from pathlib import Path

import h5py
import numpy as np
import torch
from PIL import Image
from torch import nn

data, out, mode = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
torch.manual_seed(0)
torch.set_num_threads(1)
rows = list(csv.DictReader((data / "train_split.csv").open()))[:320]
with h5py.File(data / "train_split-image.hdf5") as file:
    photos = [Image.open(io.BytesIO(file[row["isic_id"]][()])).convert("RGB").resize((32, 32)) for row in rows]
images = torch.from_numpy(np.stack([np.asarray(photo) for photo in photos])).permute(0, 3, 1, 2).float() / 255
labels = torch.tensor([int(row["target"]) for row in rows])
model = nn.Sequential(
    *(nn.Conv2d(3, 16, 3, stride=2), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 32, 3, stride=2), nn.ReLU()),
    *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2), nn.Linear(32, 2), nn.Softmax(dim=1)),  # the mistake
)
criterion = nn.CrossEntropyLoss()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
if mode == "watched":
    from clearsight import Hook

    hook = Hook(out, classes=["benign", "malignant"]).watch(model, loss=criterion, optimizer=optimizer)
for _ in range(6):
    for batch in torch.randperm(len(images)).split(32):
        optimizer.zero_grad()
        criterion(model(images[batch]), labels[batch]).backward()
        optimizer.step()
if mode == "watched":
    hook.close()
torch.save([parameter.detach() for parameter in model.parameters()], out.with_suffix(".pt"))
