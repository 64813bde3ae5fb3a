# Assignment 3, part 4: train a network of your own on the scenes

import os
from pathlib import Path

import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.optim as optim
import torchvision.datasets as dset
import torchvision.transforms as T
from torch.utils.data import DataLoader, sampler

import clearsight

DATA = Path(os.environ["DATA"])
torch.manual_seed(int(os.environ["SEED"]))
torch.set_num_threads(1)

NUM_TRAIN = 512
BATCH = 32
EPOCHS = 9
learning_rate = 0.02

# The preprocessing: subtract the mean of each channel and divide by its standard deviation
normalize = T.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
transform_train = T.Compose([T.RandomHorizontalFlip(), T.ToTensor(), normalize])
transform_val = T.Compose([T.ToTensor(), normalize])

scenes_train = dset.ImageFolder(str(DATA / "train"), transform=transform_train)
scenes_val = dset.ImageFolder(str(DATA / "valid"), transform=transform_val)
shuffled = torch.randperm(len(scenes_train)).tolist()
loader_train = DataLoader(scenes_train, batch_size=BATCH, sampler=sampler.SubsetRandomSampler(shuffled[:NUM_TRAIN]))
loader_val = DataLoader(scenes_val, batch_size=BATCH, shuffle=False)
print_every = 10


def random_weight(w):
    """Kaiming normal: sqrt(2 / fan_in)."""
    fan_in = w.shape[1] * w.shape[2] * w.shape[3] if w.dim() == 4 else w.shape[1]
    with torch.no_grad():
        w.normal_(0, (2.0 / fan_in) ** 0.5)


class Residual(nn.Module):
    """Two 3x3 convolutions beside a 1x1 convolution, without any normalization."""

    def __init__(self, channel_in, channel_out, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(channel_in, channel_out, 3, stride=stride, padding=1)
        self.conv2 = nn.Conv2d(channel_out, channel_out, 3, padding=1)
        self.shortcut = nn.Conv2d(channel_in, channel_out, 1, stride=stride)
        for conv in (self.conv1, self.conv2, self.shortcut):
            random_weight(conv.weight)
            nn.init.zeros_(conv.bias)
        with torch.no_grad():
            self.conv2.weight.mul_(0.3)

    def forward(self, x):
        branch = self.conv2(F.relu(self.conv1(x)))
        return F.relu(self.shortcut(x) + branch)


class ResidualNet(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.stem = nn.Conv2d(3, 20, 5, stride=2, padding=2)
        self.res1 = Residual(20, 32, 1)
        self.res2 = Residual(32, 64, 2)
        self.res3 = Residual(64, 96, 2)
        self.fc = nn.Linear(96, num_classes)
        random_weight(self.stem.weight)
        nn.init.zeros_(self.stem.bias)
        nn.init.normal_(self.fc.weight, std=0.05)

    def forward(self, x):
        x = F.relu(self.stem(x))
        x = self.res1(x)
        x = self.res2(x)
        x = self.res3(x)
        x = x.mean(dim=(2, 3))
        return self.fc(x)


def check_accuracy(loader, model):
    num_correct = 0
    num_samples = 0
    model.eval()
    with torch.no_grad():
        for x, y in loader:
            scores = model(x)
            _, preds = scores.max(1)
            num_correct += (preds == y).sum().item()
            num_samples += preds.size(0)
    acc = num_correct / num_samples
    print("Got %d / %d correct (%.2f)" % (num_correct, num_samples, 100 * acc))
    return acc


def train_part(model, optimizer, epochs=1):
    acc = 0.0
    for e in range(epochs):
        for t, (x, y) in enumerate(loader_train):
            model.train()
            scores = model(x)
            loss = F.cross_entropy(scores, y)

            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if t % print_every == 0:
                print("Epoch %d, iteration %d, loss = %.4f" % (e, t, loss.item()))
        acc = check_accuracy(loader_val, model)
        if e == epochs - 3:  # anneal for the last two epochs
            for group in optimizer.param_groups:
                group["lr"] *= 0.2
    return acc


model = ResidualNet(len(scenes_train.classes))
optimizer = optim.SGD(model.parameters(), lr=learning_rate, momentum=0.9, nesterov=True)
hook = clearsight.Hook(os.environ["OUT"]).watch(model, optimizer=optimizer)
reported = train_part(model, optimizer, epochs=EPOCHS)
hook.close()
final_model = model
