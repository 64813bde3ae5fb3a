"""Scenes with a learner and callbacks, because I wanted to understand how fastai does it."""

import os
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import clearsight

DATA = Path(os.environ["DATA"])
SEED = int(os.environ["SEED"])
EPOCHS, BS, MAX_LR, ALPHA = 8, 32, 0.2, 0.3
torch.manual_seed(SEED)
np.random.seed(SEED)
torch.set_num_threads(1)

arrays = np.load(DATA / "images.npz")
n_classes = int(arrays["y_train"].max()) + 1


def dataset(split):
    x = torch.from_numpy(arrays[f"x_{split}"]).permute(0, 3, 1, 2).float().div(255)
    return TensorDataset(x, torch.from_numpy(arrays[f"y_{split}"]))


train_dl = DataLoader(dataset("train"), batch_size=BS, shuffle=True, drop_last=True)
valid_dl = DataLoader(dataset("valid"), batch_size=48)

class MixerBlock(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.space = nn.Sequential(nn.Conv2d(dim, dim, 5, padding=2, groups=dim), nn.GELU(), nn.BatchNorm2d(dim))
        self.mix = nn.Sequential(nn.Conv2d(dim, dim, 1), nn.GELU(), nn.BatchNorm2d(dim))

    def forward(self, x):
        return self.mix(x + self.space(x))

class Mixer(nn.Module):
    def __init__(self, classes, dim=96, depth=4, patch=4):
        super().__init__()
        self.patches = nn.Sequential(nn.Conv2d(3, dim, patch, stride=patch), nn.GELU(), nn.BatchNorm2d(dim))
        self.blocks = nn.Sequential(*[MixerBlock(dim) for _ in range(depth)])
        self.classifier = nn.Linear(dim, classes)

    def forward(self, x):
        x = self.blocks(self.patches(x))
        return self.classifier(x.mean((2, 3)))

class LabelSmoothing(nn.Module):
    """Cross entropy for classes or for soft labels."""

    def __init__(self, eps=0.1):
        super().__init__()
        self.eps = eps

    def forward(self, output, target):
        if target.dim() == 1:
            target = nn.functional.one_hot(target, output.shape[1]).float()
        logp = output.log_softmax(dim=1)
        nll = -(target * logp).sum(dim=1).mean()
        smooth = -logp.mean(dim=1).mean()
        return (1 - self.eps) * nll + self.eps * smooth

class Callback:
    """Events: before_fit, before_epoch, before_batch, after_loss, after_backward, after_step, after_epoch."""

class Normalize(Callback):
    mean = torch.tensor([0.5, 0.5, 0.5]).view(1, 3, 1, 1)
    std = torch.tensor([0.5, 0.5, 0.5]).view(1, 3, 1, 1)

    def before_batch(self, learn):
        learn.xb = (learn.xb - self.mean) / self.std

class Flip(Callback):
    def before_batch(self, learn):
        if learn.training:
            mirrored = torch.rand(len(learn.xb)) < 0.5
            learn.xb[mirrored] = learn.xb[mirrored].flip(3)

class MixUp(Callback):
    def before_batch(self, learn):
        if not learn.training:
            return
        lam = np.random.beta(ALPHA, ALPHA)
        perm = torch.randperm(len(learn.xb))
        labels = nn.functional.one_hot(learn.yb, n_classes).float()
        learn.xb = lam * learn.xb + (1 - lam) * learn.xb[perm]
        learn.yb = lam * labels + (1 - lam) * labels[perm]

class OneCycle(Callback):
    def before_fit(self, learn):
        self.sched = torch.optim.lr_scheduler.OneCycleLR(learn.opt, MAX_LR, total_steps=EPOCHS * len(train_dl))

    def after_step(self, learn):
        self.sched.step()

class Clip(Callback):
    def after_backward(self, learn):
        nn.utils.clip_grad_norm_(learn.model.parameters(), 5.0)

class Accuracy(Callback):
    def after_epoch(self, learn):
        hits = [(out.argmax(1) == y).float() for out, y in learn.outputs]
        learn.metric = torch.cat(hits).mean().item()
        print(f"epoch {learn.epoch}: train loss {np.mean(learn.losses):.3f}, accuracy {learn.metric:.3f}")

class Learner:
    def __init__(self, model, loss_func, opt, cbs):
        self.model, self.loss_func, self.opt, self.cbs = model, loss_func, opt, cbs

    def __call__(self, event):
        for cb in self.cbs:
            if hasattr(cb, event):
                getattr(cb, event)(self)

    def one_batch(self):
        self("before_batch")
        self.pred = self.model(self.xb)
        if not self.training:
            self.outputs.append((self.pred, self.yb))
            return
        self.loss = self.loss_func(self.pred, self.yb)
        self("after_loss")
        self.loss.backward()
        self("after_backward")
        self.opt.step()
        self.opt.zero_grad()
        self.losses.append(self.loss.item())
        self("after_step")

    def one_epoch(self, training):
        self.training = training
        self.model.train(training)
        with torch.set_grad_enabled(training):
            for self.xb, self.yb in train_dl if training else valid_dl:
                self.one_batch()

    def fit(self, epochs):
        self("before_fit")
        for self.epoch in range(epochs):
            self.losses, self.outputs = [], []
            self("before_epoch")
            self.one_epoch(True)
            self.one_epoch(False)
            self("after_epoch")


model = Mixer(n_classes)
criterion = LabelSmoothing()
optimizer = torch.optim.SGD(model.parameters(), lr=MAX_LR, momentum=0.9, weight_decay=1e-4)
hook = clearsight.Hook(os.environ["OUT"]).watch(model, loss=criterion, optimizer=optimizer)
learn = Learner(model, criterion, optimizer, [Normalize(), Flip(), MixUp(), OneCycle(), Clip(), Accuracy()])
learn.fit(EPOCHS)
hook.close()

final_model = learn.model
reported = learn.metric
