"""A training that smdebug records, by smdebug 1.0.34 or by ours: `python training.py` writes what the test compares.

In an environment with torch, smdebug 1.0.34 and numpy below 2, CLEARSIGHT_SMDEBUG unset:

    python training.py steps.json trial/        # names and steps of every configuration; the files of the first
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import nn

import smdebug.pytorch as smd

CONFIGURATIONS: dict[str, dict[str, Any]] = {
    "small": {"HookParameters": {"save_interval": "30"}, "CollectionConfigurations": [{"CollectionName": "biases"}]},
    "intervals of collections and of modes": {
        "HookParameters": {"train.save_interval": "10", "eval.save_interval": "4"},
        "CollectionConfigurations": [
            {"CollectionName": "losses", "CollectionParameters": {"save_interval": "50"}},
            {"CollectionName": "gradients"},
            {
                "CollectionName": "relu_output",
                "CollectionParameters": {"include_regex": ".*relu_output", "save_interval": "7"},
            },
        ],
    },
    "losses alone": {"HookParameters": {"train.save_interval": "10", "eval.save_interval": "4"}},
    "reductions, ranges and lists": {
        "HookParameters": {"save_interval": "5", "reductions": "mean,std,abs_max,l2_norm,abs_l1_norm"},
        "CollectionConfigurations": [
            {"CollectionName": "weights"},
            {
                "CollectionName": "biases",
                "CollectionParameters": {"save_steps": "1,2,3", "start_step": "2", "end_step": "20"},
            },
            {
                "CollectionName": "loss_tensors",
                "CollectionParameters": {
                    "include_regex": "CrossEntropyLoss_input_0,CrossEntropyLoss_output",
                    "train.save_interval": "3",
                },
            },
        ],
    },
    "everything": {"HookParameters": {"save_all": "True", "save_interval": "9", "include_regex": "conv"}},
}


class Net(nn.Module):
    """A small network with a frozen layer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.relu, self.fc = nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Linear(72, 4)
        self.fixed = nn.Linear(4, 4).requires_grad_(False)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.fixed(self.fc(self.relu(self.conv(images)).flatten(1)))  # type: ignore[no-any-return]


def record(name: str, folder: Path) -> None:
    """Train six epochs of seven batches, each with an evaluation of three, into folder/tensors."""
    config = {"CollectionConfigurations": [], **CONFIGURATIONS[name], "LocalPath": str(folder / "tensors")}
    (folder / "config.json").write_text(json.dumps(config))
    model, loss = Net(), nn.CrossEntropyLoss()
    hook = smd.Hook.create_from_json_file(str(folder / "config.json"))
    hook.register_module(model)
    hook.register_loss(loss)
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    for epoch in range(6):
        hook.set_mode(smd.modes.TRAIN)
        for batch in range(7):
            images, labels = torch.full((4, 1, 8, 8), batch / 7), torch.arange(4)
            optimizer.zero_grad()
            loss(model(images), labels).backward()
            optimizer.step()
        hook.save_scalar("epoch", epoch)
        hook.save_tensor("epoch", torch.tensor(float(epoch)))
        hook.set_mode(smd.modes.EVAL)
        with torch.no_grad():
            for batch in range(3):
                loss(model(torch.full((4, 1, 8, 8), batch / 3)), torch.arange(4))
        hook.save_scalar("evaluation", epoch / 2)
    hook.close()


def saved_steps(folder: Path) -> dict[str, Any]:
    """Return tensor -> mode -> step -> shape of the elements (null where none are saved) and saved reductions."""
    from smdebug.exceptions import TensorUnavailableForStep

    trial = smd.create_trial(str(folder / "tensors"))
    found: dict[str, Any] = {}
    for name in trial.tensor_names():
        tensor = trial.tensor(name)
        for mode in (smd.modes.TRAIN, smd.modes.EVAL):
            for step in tensor.steps(mode=mode):
                try:
                    shape = list(tensor.value(step, mode=mode).shape)
                except TensorUnavailableForStep:
                    shape = None
                reductions = sorted(map(str, tensor.reduction_values(step, mode=mode)))
                found.setdefault(name, {}).setdefault(mode.name, {})[str(step)] = [shape, reductions]
    return found


def main() -> None:
    listing, files = Path(sys.argv[1]), Path(sys.argv[2])
    found = {}
    for number, name in enumerate(CONFIGURATIONS):
        with tempfile.TemporaryDirectory() as folder:
            smd.del_hook()
            record(name, Path(folder))
            found[name] = saved_steps(Path(folder))
            if number == 0:
                (Path(folder) / "tensors").rename(files)
    listing.write_text(json.dumps(found, sort_keys=True, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
