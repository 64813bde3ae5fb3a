"""Rules of whole jobs: their statuses, details, reports and actions, on a few real images."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.sagemaker.training.conftest import JobRun

TRAINING = """
import os, time
import smdebug.pytorch as smd
import torch
from torchvision import datasets, transforms

lr, epochs, seconds = (float(os.environ["SM_HP_" + name]) for name in ("LR", "EPOCHS", "SECONDS"))
torch.manual_seed(0)
size = transforms.Compose([transforms.Resize((16, 16)), transforms.ToTensor()])
images = {split: datasets.ImageFolder(os.environ["SM_CHANNEL_" + split], size) for split in ("TRAIN", "VALID")}
model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 16 * 16, 32), torch.nn.ReLU(), torch.nn.Linear(32, 2))
optimizer = torch.optim.SGD(model.parameters(), lr=lr)
criterion = torch.nn.CrossEntropyLoss()
hook = smd.get_hook(create_if_not_exists=True)
hook.register_module(model)
hook.register_loss(criterion)
for epoch in range(int(epochs)):
    hook.set_mode(smd.modes.TRAIN)
    model.train()
    for batch, labels in torch.utils.data.DataLoader(images["TRAIN"], batch_size=4, shuffle=True):
        optimizer.zero_grad()
        criterion(model(batch), labels).backward()
        optimizer.step()
        time.sleep(seconds)
    hook.set_mode(smd.modes.EVAL)
    model.eval()
    with torch.no_grad():
        for batch, labels in torch.utils.data.DataLoader(images["VALID"], batch_size=4):
            criterion(model(batch), labels)
print("trained to the end")
"""


def debugged(job: JobRun, scenes: Path, *, lr: float, epochs: int, seconds: float = 0.0) -> None:
    """Let a job train on eight real images a class, with everything saved every second step."""
    for split, places in {"train": slice(0, 8), "valid": slice(8, 12)}.items():
        for name in ("forest", "sea"):
            for image in sorted((scenes / "seg_train" / name).glob("*.jpg"))[places]:
                job.put(f"scenes/{split}/{name}/{image.name}", image.read_bytes())
        job.channel(split, f"s3://photos/scenes/{split}")
    job.request["HyperParameters"] |= {"lr": str(lr), "epochs": str(epochs), "seconds": str(seconds)}
    job.request["DebugHookConfig"] = {
        "S3OutputPath": "s3://photos/out",
        "HookParameters": {"save_interval": "2"},
        "CollectionConfigurations": [{"CollectionName": name} for name in ("losses", "gradients", "weights")],
    }
    job.code(TRAINING)


def rule(name: str, configuration: str = "", **parameters: str) -> dict[str, Any]:
    return {
        "RuleConfigurationName": configuration or name,
        "RuleEvaluatorImage": "debugger-rules",
        "RuleParameters": {"rule_to_invoke": name, **parameters},
    }


def statuses(job: JobRun) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for event in job.events:
        if event["kind"] == "rule":
            found.setdefault(event["configuration"], []).append(event["status"])
    return found


def details(job: JobRun, name: str) -> str:
    return next(e["details"] for e in reversed(job.events) if e["kind"] == "rule" and e["configuration"] == name)


def test_rules_of_a_job(job: JobRun, scenes: Path) -> None:
    debugged(job, scenes, lr=0.0, epochs=5)
    job.request["DebugRuleConfigurations"] = [
        rule("LossNotDecreasing", mode="EVAL", num_steps="4"),
        rule("VanishingGradient"),
        rule("Overfit", patience="3", ratio_threshold="0.5"),
        rule("Overfit", "Misspelt", patients="3"),
        rule("DeadRelu"),
    ]
    assert job.run() == "Completed", job.log
    final = {name: values[-1] for name, values in statuses(job).items()}
    assert final == {
        "LossNotDecreasing": "IssuesFound",
        "VanishingGradient": "NoIssuesFound",
        "Overfit": "NoIssuesFound",
        "Misspelt": "Error",
        "DeadRelu": "NoIssuesFound",
    }
