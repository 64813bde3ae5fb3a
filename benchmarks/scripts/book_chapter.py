"""Chapter 8: networks with parallel branches. We train a small one on handwritten digits."""
import os
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

import clearsight

torch.manual_seed(int(os.environ["SEED"]))
torch.set_num_threads(1)


class Accumulator:
    """Sums over n variables."""

    def __init__(self, n):
        self.data = [0.0] * n

    def add(self, *args):
        self.data = [a + float(b) for a, b in zip(self.data, args)]

    def __getitem__(self, idx):
        return self.data[idx]


def load_digits(batch_size):
    arrays = np.load(Path(os.environ["DATA"]) / "images.npz")

    def images(x):
        x = torch.from_numpy(x).permute(0, 3, 1, 2).float() / 255
        return (x - 0.5) / 0.5

    x_train = images(arrays["x_train"])
    x_valid = images(arrays["x_valid"])
    y_train = torch.from_numpy(arrays["y_train"])
    y_valid = torch.from_numpy(arrays["y_valid"])
    train_iter = DataLoader(TensorDataset(x_train, y_train), batch_size, shuffle=True)
    return train_iter, DataLoader(TensorDataset(x_valid, y_valid), batch_size)


class Inception(nn.Module):
    """Four parallel paths whose outputs are joined along the channels."""

    def __init__(self, inputs, c1, c2, c3, c4):
        super().__init__()
        self.p1 = nn.Conv2d(inputs, c1, kernel_size=1)
        self.p2_1 = nn.Conv2d(inputs, c2[0], kernel_size=1)
        self.p2_2 = nn.Conv2d(c2[0], c2[1], kernel_size=3, padding=1)
        self.p3_1 = nn.Conv2d(inputs, c3[0], kernel_size=1)
        self.p3_2 = nn.Conv2d(c3[0], c3[1], kernel_size=5, padding=2)
        self.p4_1 = nn.MaxPool2d(kernel_size=3, stride=1, padding=1)
        self.p4_2 = nn.Conv2d(inputs, c4, kernel_size=1)

    def forward(self, x):
        p1 = F.relu(self.p1(x))
        p2 = F.relu(self.p2_2(F.relu(self.p2_1(x))))
        p3 = F.relu(self.p3_2(F.relu(self.p3_1(x))))
        p4 = F.relu(self.p4_2(self.p4_1(x)))
        return torch.cat((p1, p2, p3, p4), dim=1)


def make_net():
    b1 = nn.Sequential(nn.Conv2d(3, 16, kernel_size=5, padding=2), nn.ReLU(), nn.MaxPool2d(2))
    b2 = nn.Sequential(Inception(16, 8, (8, 16), (4, 8), 8), nn.MaxPool2d(2))
    b3 = nn.Sequential(Inception(40, 16, (16, 32), (8, 16), 16), nn.AdaptiveAvgPool2d(2), nn.Flatten())
    return nn.Sequential(b1, b2, b3, nn.Linear(320, 64), nn.ReLU(), nn.Linear(64, 10))


def init_weights(m):
    if type(m) in (nn.Linear, nn.Conv2d):
        nn.init.xavier_uniform_(m.weight)


def accuracy(y_hat, y):
    """The number of correct predictions."""
    return (y_hat.argmax(dim=1) == y).sum()


def evaluate_accuracy(net, data_iter):
    net.eval()
    metric = Accumulator(2)
    with torch.no_grad():
        for X, y in data_iter:
            metric.add(accuracy(net(X), y), y.numel())
    return metric[0] / metric[1]


def train_epoch(net, train_iter, loss, updater, scheduler):
    net.train()
    metric = Accumulator(3)
    for X, y in train_iter:
        y_hat = net(X)
        l = loss(y_hat, y)
        updater.zero_grad()
        l.mean().backward()
        updater.step()
        metric.add(l.detach().sum(), accuracy(y_hat, y), y.numel())
    scheduler.step()
    return metric[0] / metric[2], metric[1] / metric[2]


def train(net, train_iter, test_iter, num_epochs, lr):
    net.apply(init_weights)
    loss = nn.CrossEntropyLoss(reduction="none")
    updater = torch.optim.SGD(net.parameters(), lr=lr)
    scheduler = torch.optim.lr_scheduler.LambdaLR(updater, lambda epoch: 0.93**epoch)
    hook = clearsight.Hook(os.environ["OUT"]).watch(net, loss=loss, optimizer=updater)
    for epoch in range(num_epochs):
        train_loss, train_acc = train_epoch(net, train_iter, loss, updater, scheduler)
        test_acc = evaluate_accuracy(net, test_iter)
        print(f"epoch {epoch + 1}: loss {train_loss:.3f}, train acc {train_acc:.3f}, test acc {test_acc:.3f}")
    hook.close()
    return test_acc


num_epochs, lr, batch_size = 14, 0.15, 40
train_iter, test_iter = load_digits(batch_size)
net = make_net()
reported = train(net, train_iter, test_iter, num_epochs, lr)
final_model = net
