"""Distil a fine-tuned MobileNetV2 into a network with a fiftieth of its cost, after Hinton, Vinyals and Dean 2015."""

import os
from pathlib import Path

import numpy as np
import timm
import torch
import torch.nn as nn
import torch.nn.functional as F
from safetensors.torch import load_file
from torch.utils.data import DataLoader, TensorDataset

import clearsight

data_dir, out_dir = Path(os.environ["DATA"]), os.environ["OUT"]
weights_file = Path(os.environ["CLEARSIGHT_SHARED"]) / "weights" / "mobilenetv2_100_imagenet.safetensors"
T, ALPHA = 4.0, 0.7  # temperature, share of the soft loss
TEACHER_EPOCHS, STUDENT_EPOCHS = 15, 14
STUDENT_LR, MOMENTUM, BATCH = 0.03, 0.9, 32

torch.manual_seed(int(os.environ["SEED"]))
torch.set_num_threads(1)


def prepare(images):
    images = torch.tensor(images).permute(0, 3, 1, 2).to(torch.float32)
    return images.div(127.5).sub(1.0)


arrays = np.load(data_dir / "images.npz")
x_train, y_train = prepare(arrays["x_train"]), torch.tensor(arrays["y_train"])
x_test, y_test = prepare(arrays["x_valid"]), torch.tensor(arrays["y_valid"])
num_classes = int(y_train.max()) + 1
test_loader = DataLoader(TensorDataset(x_test, y_test), batch_size=80)


# ---- teacher: ImageNet features, a head of our own
class Teacher(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = timm.create_model("mobilenetv2_100", num_classes=0)
        state = load_file(weights_file)
        self.features.load_state_dict({k: state[k] for k in self.features.state_dict() if k in state})
        self.fc = nn.Linear(1280, num_classes)

    def forward(self, x):
        return self.fc(self.features(x))


def train_head(teacher, labels):
    """The features are fixed, so they are computed once."""
    teacher.eval()
    with torch.no_grad():
        features = torch.cat([teacher.features(part) for part in x_train.split(80)])
    optimizer = torch.optim.Adam(teacher.fc.parameters(), lr=3e-3)
    for _ in range(TEACHER_EPOCHS):
        for index in torch.randperm(len(features)).split(BATCH):
            optimizer.zero_grad()
            F.cross_entropy(teacher.fc(features[index]), labels[index]).backward()
            optimizer.step()


@torch.no_grad()
def test(net):
    net.eval()
    correct = 0
    for images, labels in test_loader:
        outputs = net(images)
        correct += (outputs.argmax(dim=1) == labels).sum().item()
    return correct / len(y_test)


teacher = Teacher()
train_head(teacher, y_train)
print(f"teacher accuracy {test(teacher):.3f}")


# ---- student
class Student(nn.Module):
    def __init__(self, width=16):
        super().__init__()
        layers, channels = [], 3
        for out in (width, 2 * width, 4 * width, 6 * width):
            layers += [nn.Conv2d(channels, out, 3, stride=2, padding=1), nn.BatchNorm2d(out), nn.ReLU()]
            channels = out
        self.layers = nn.Sequential(*layers)
        self.drop = nn.Dropout(0.1)
        self.fc = nn.Linear(channels, num_classes)

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        x = x.mean(dim=(2, 3))
        return self.fc(self.drop(x))


def distillation_loss(outputs, soft_targets, labels, temperature, alpha):
    soft = F.kl_div(
        F.log_softmax(outputs / temperature, dim=1), F.softmax(soft_targets / temperature, dim=1), reduction="batchmean"
    )
    hard = ce_loss(outputs, labels)
    return alpha * temperature**2 * soft + (1 - alpha) * hard


# the teacher does not change, so what it says about the training images is computed once
teacher.eval()
with torch.no_grad():
    teacher_logits = torch.cat([teacher(part) for part in x_train.split(80)])
train_set = TensorDataset(x_train, y_train, teacher_logits)
train_loader = DataLoader(train_set, batch_size=BATCH, shuffle=True, drop_last=True)

ce_loss = nn.CrossEntropyLoss()
student = Student()
optimizer = torch.optim.SGD(student.parameters(), lr=STUDENT_LR, momentum=MOMENTUM, weight_decay=5e-4)
scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STUDENT_EPOCHS)
hook = clearsight.Hook(out_dir).watch(student, loss=ce_loss, optimizer=optimizer)

for epoch in range(STUDENT_EPOCHS):
    student.train()
    total = 0.0
    for images, labels, soft_targets in train_loader:
        mirrored = torch.rand(len(images)) < 0.5
        images = torch.where(mirrored[:, None, None, None], images.flip(3), images)
        optimizer.zero_grad()
        outputs = student(images)
        loss = distillation_loss(outputs, soft_targets, labels, T, ALPHA)
        loss.backward()
        optimizer.step()
        total += loss.item()
    scheduler.step()
    accuracy = test(student)
    print(f"epoch {epoch + 1}/{STUDENT_EPOCHS} loss {total / len(train_loader):.3f} student accuracy {accuracy:.3f}")
hook.close()

final_model, reported = student, accuracy
