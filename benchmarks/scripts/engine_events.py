"""Scenes with a short resnet from scratch, on an engine with events (a pocket version of ignite)."""
import copy
import os
from collections import defaultdict
from enum import Enum, auto

import numpy as np
import torch
import torch.nn.functional as F
import torchvision
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import clearsight


class Events(Enum):
    STARTED = auto()
    EPOCH_STARTED = auto()
    ITERATION_STARTED = auto()
    ITERATION_COMPLETED = auto()
    EPOCH_COMPLETED = auto()
    COMPLETED = auto()


class State:
    def __init__(self):
        self.epoch, self.iteration, self.output, self.metrics = 0, 0, None, {}


class Engine:
    """Calls a process function on every batch and the handlers of an event around it."""

    def __init__(self, process):
        self.process, self.handlers, self.state = process, defaultdict(list), State()

    def on(self, event, every=1):
        def register(handler):
            self.handlers[event].append((every, handler))
            return handler

        return register

    def fire(self, event, count):
        for every, handler in self.handlers[event]:
            if count % every == 0:
                handler(self)

    def run(self, loader, max_epochs=1):
        self.state.epoch, self.state.iteration = 0, 0
        self.fire(Events.STARTED, 0)
        while self.state.epoch < max_epochs:
            self.state.epoch += 1
            self.fire(Events.EPOCH_STARTED, self.state.epoch)
            for batch in loader:
                self.state.iteration += 1
                self.fire(Events.ITERATION_STARTED, self.state.iteration)
                self.state.output = self.process(self, batch)
                self.fire(Events.ITERATION_COMPLETED, self.state.iteration)
            self.fire(Events.EPOCH_COMPLETED, self.state.epoch)
        self.fire(Events.COMPLETED, self.state.epoch)
        return self.state


def attach_metrics(engine, criterion):
    """Accuracy and loss of an epoch of `engine`, whose output is (y_pred, y)."""
    sums = {"hits": 0, "loss": 0.0, "n": 0}

    @engine.on(Events.EPOCH_STARTED)
    def reset(engine):
        sums.update(hits=0, loss=0.0, n=0)

    @engine.on(Events.ITERATION_COMPLETED)
    def update(engine):
        y_pred, y = engine.state.output
        sums["hits"] += (y_pred.argmax(dim=1) == y).sum().item()
        sums["loss"] += criterion(y_pred, y).item() * len(y)
        sums["n"] += len(y)

    @engine.on(Events.EPOCH_COMPLETED)
    def compute(engine):
        engine.state.metrics = {"accuracy": sums["hits"] / sums["n"], "loss": sums["loss"] / sums["n"]}


MEAN = torch.tensor([0.45, 0.45, 0.43]).view(1, 3, 1, 1)
STD = torch.tensor([0.27, 0.27, 0.29]).view(1, 3, 1, 1)
EPOCHS, BATCH, LR, WARMUP = 7, 32, 0.04, 20
torch.manual_seed(int(os.environ["SEED"]))
torch.set_num_threads(1)

npz = np.load(os.path.join(os.environ["DATA"], "images.npz"))


def make_loader(split, **kwargs):
    x = torch.from_numpy(npz[f"x_{split}"]).permute(0, 3, 1, 2)  # bytes, to save memory
    return DataLoader(TensorDataset(x, torch.from_numpy(npz[f"y_{split}"])), batch_size=BATCH, **kwargs)


train_loader, val_loader = make_loader("train", shuffle=True, drop_last=True), make_loader("valid")


def prepare_batch(batch, augment=False):
    x, y = batch
    x = x.float() / 255
    if augment:
        flip = torch.rand(len(x)) < 0.5
        x[flip] = x[flip].flip(3)
    x = (x - MEAN) / STD
    return x, y


model = torchvision.models.ResNet(torchvision.models.resnet.BasicBlock, [1, 1, 1, 1])
model.conv1 = nn.Conv2d(3, 64, 3, stride=2, padding=1, bias=False)  # 7 pixels are too many for small images
model.layer4, model.fc = nn.Identity(), nn.Linear(256, 6)
optimizer = torch.optim.SGD(model.parameters(), lr=LR, momentum=0.9, weight_decay=5e-4)
criterion = nn.CrossEntropyLoss()


def train_step(engine, batch):
    x, y = prepare_batch(batch, augment=True)
    optimizer.zero_grad()
    y_pred = model(x)
    loss = criterion(y_pred, y)
    loss.backward()
    optimizer.step()
    return loss.item()


@torch.no_grad()
def eval_step(engine, batch):
    x, y = prepare_batch(batch)
    return model(x), y


trainer, evaluator = Engine(train_step), Engine(eval_step)
attach_metrics(evaluator, criterion)
total_steps = EPOCHS * len(train_loader)


@trainer.on(Events.ITERATION_STARTED)
def set_lr(engine):
    step = engine.state.iteration
    factor = step / WARMUP if step < WARMUP else 1 - (step - WARMUP) / (total_steps + 1 - WARMUP)
    for group in optimizer.param_groups:
        group["lr"] = LR * factor


@trainer.on(Events.EPOCH_STARTED)
def train_mode(engine):
    model.train()


@trainer.on(Events.ITERATION_COMPLETED, every=10)
def log_loss(engine):
    print(f"[{engine.state.epoch}/{engine.state.iteration}] loss {engine.state.output:.3f}")


@trainer.on(Events.EPOCH_COMPLETED)
def validate(engine):
    model.eval()
    metrics = evaluator.run(val_loader).metrics
    print(f"epoch {engine.state.epoch}: val loss {metrics['loss']:.3f} accuracy {metrics['accuracy']:.3f}")


hook = clearsight.Hook(os.environ["OUT"]).watch(model, loss=criterion, optimizer=optimizer)
trainer.run(train_loader, max_epochs=EPOCHS)
hook.close()

final_model = model
reported = evaluator.state.metrics["accuracy"]
