"""Scenes (Intel image classification): a small convolutional network with a fit() as in Keras."""

import copy
import os
from pathlib import Path

import numpy as np
import torch
from torch import nn

import clearsight

DATA = Path(os.environ["DATA"])
EPOCHS, BATCH_SIZE, PATIENCE = 9, 32, 4
LEARNING_RATE, DECAY = 2e-3, 0.8

torch.manual_seed(int(os.environ["SEED"]))
np.random.seed(int(os.environ["SEED"]))
torch.set_num_threads(1)

# ---------------------------------------------------------------- data
MEAN = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
STD = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)


def to_tensor(pixels):
    x = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
    return (x - MEAN) / STD


arrays = np.load(DATA / "images.npz")
x_train, y_train = to_tensor(arrays["x_train"]), torch.from_numpy(arrays["y_train"])
x_val, y_val = to_tensor(arrays["x_valid"]), torch.from_numpy(arrays["y_valid"])
num_classes = int(arrays["y_train"].max()) + 1
print("train", tuple(x_train.shape), "val", tuple(x_val.shape), "classes", num_classes)


def augment(x):
    flip = torch.rand(len(x)) < 0.5
    x = torch.where(flip.view(-1, 1, 1, 1), x.flip(3), x)
    dy, dx = torch.randint(-3, 4, (2,)).tolist()
    return torch.roll(x, (dy, dx), dims=(2, 3))


# ---------------------------------------------------------------- network
class ConvBlock(nn.Module):
    def __init__(self, c_in, c_out):
        super().__init__()
        self.depth = nn.Conv2d(c_in, c_in, 5, padding=2, groups=c_in)
        self.point = nn.Conv2d(c_in, c_out, 1, bias=False)
        self.norm = nn.BatchNorm2d(c_out)
        self.pool = nn.MaxPool2d(2)

    def forward(self, x):
        x = torch.nn.functional.elu(self.norm(self.point(self.depth(x))))
        return self.pool(x)


class SceneNet(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.stem = nn.Conv2d(3, 24, 3, padding=1)
        self.blocks = nn.Sequential(ConvBlock(24, 48), ConvBlock(48, 96), ConvBlock(96, 128))
        self.drop = nn.Dropout(0.2)
        self.hidden = nn.Linear(128 * 3 * 3, 96)
        self.out = nn.Linear(96, classes)

    def forward(self, x):
        x = self.blocks(torch.relu(self.stem(x)))
        x = x.flatten(1)
        x = torch.relu(self.hidden(self.drop(x)))
        return self.out(x)


# ---------------------------------------------------------------- a fit() like the one I know
def accuracy(outputs, targets):
    return (outputs.argmax(dim=1) == targets).float().mean().item()


class EarlyStopping:
    def __init__(self, monitor="val_loss", patience=PATIENCE, min_delta=0.0):
        self.monitor, self.patience, self.min_delta = monitor, patience, min_delta
        self.best, self.wait, self.weights = float("inf"), 0, None

    def should_stop(self, history, net):
        value = history[self.monitor][-1]
        if value < self.best - self.min_delta:
            self.best, self.wait = value, 0
            self.weights = copy.deepcopy(net.state_dict())
        else:
            self.wait += 1
        return self.wait >= self.patience


class Model:
    def __init__(self, net):
        self.net = net

    def compile(self, loss, optimizer, metrics):
        self.loss, self.optimizer, self.metrics = loss, optimizer, metrics

    def fit(self, x, y, epochs, batch_size, validation_data, stopper):
        history = {"loss": [], "acc": [], "val_loss": [], "val_acc": []}
        for epoch in range(epochs):
            self.net.train()
            losses, scores = [], []
            order = torch.randperm(len(x))
            for start in range(0, len(x), batch_size):
                index = order[start : start + batch_size]
                xb, yb = augment(x[index]), y[index]
                self.optimizer.zero_grad()
                outputs = self.net(xb)
                loss = self.loss(outputs, yb)
                loss.backward()
                self.optimizer.step()
                losses.append(loss.item())
                scores.append(self.metrics(outputs.detach(), yb))
            for group in self.optimizer.param_groups:
                group["lr"] = LEARNING_RATE * DECAY ** (epoch + 1)
            val_loss, val_acc = self.evaluate(*validation_data)
            for key, value in zip(history, (np.mean(losses), np.mean(scores), val_loss, val_acc)):
                history[key].append(float(value))
            print(f"epoch {epoch + 1}/{epochs}", {key: round(values[-1], 3) for key, values in history.items()})
            if stopper.should_stop(history, self.net):
                print("early stopping")
                break
        self.net.load_state_dict(stopper.weights)
        return history

    @torch.no_grad()
    def evaluate(self, x, y):
        self.net.eval()
        outputs = torch.cat([self.net(part) for part in x.split(64)])
        return self.loss(outputs, y).item(), self.metrics(outputs, y)


net = SceneNet(num_classes)
criterion = nn.CrossEntropyLoss()
optimizer = torch.optim.Adam(net.parameters(), lr=LEARNING_RATE)
model = Model(net)
model.compile(loss=criterion, optimizer=optimizer, metrics=accuracy)
hook = clearsight.Hook(os.environ["OUT"]).watch(net, loss=criterion, optimizer=optimizer)
history = model.fit(x_train, y_train, EPOCHS, BATCH_SIZE, (x_val, y_val), EarlyStopping())
hook.close()

final_model = net
_, reported = model.evaluate(x_val, y_val)
print(f"validation accuracy {reported:.3f}")
