"""Checkpoints: one safetensors file each, written atomically; whatever is not a tensor is JSON in its header.

    newest.safetensors   everything needed to continue: weights, optimizer, average, position
    best.safetensors     the weights of the best epoch and its scores
    frozen.safetensors   the tensors that training does not change, written once; no file where it changes all

With them a run continues without the weights file that it began with. Random numbers need no state: every step draws
from a generator seeded by (seed, rank, step).
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Container, Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from clearsight.core.errors import NotResumable
from clearsight.core.files import atomic
from clearsight.training.distributed import World

Tensors = dict[str, Tensor]


class Checkpoints:
    """The checkpoint folder of one run."""

    def __init__(self, folder: Path) -> None:
        self.newest, self.best = folder / "newest.safetensors", folder / "best.safetensors"
        self.frozen = folder / "frozen.safetensors"
        # Two more files beside them, as long as the debugger may go back to an earlier state.
        self._good = {self.newest: folder / "good.safetensors", self.best: folder / "good-best.safetensors"}

    @staticmethod
    def write(path: Path, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
        """Replace one of the two files; raises DiskFull and leaves the old file whole when there is no room."""
        plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        with atomic(path) as part:
            save_file(plain, part, metadata={"state": json.dumps(state)})

    @staticmethod
    def read(path: Path) -> tuple[Tensors, dict[str, Any]]:
        """Return tensors and state of one of the two files; raises NotResumable when it is missing or damaged."""
        if not path.is_file():
            raise NotResumable(str(path), "there is no checkpoint", fix="Start the run again.")
        return read_tensors(path, "state")

    def keep_good(self) -> None:
        """Remember the checkpoints as they are now, while no rule has a finding. Costs a hard link, not a copy."""
        for path, good in self._good.items():
            good.unlink(missing_ok=True)
            if path.exists():
                good.hardlink_to(path)  # a checkpoint is replaced, never written into

    def back_to_good(self) -> bool:
        """Make the remembered checkpoints the newest again; False when none were remembered."""
        if not self._good[self.newest].exists():
            return False
        for path, good in self._good.items():
            path.unlink(missing_ok=True)
            if good.exists():
                path.hardlink_to(good)
        return True

    def epoch(self) -> int:
        """Return the epoch that was under way at the newest checkpoint; 1 without one."""
        return int(self.read(self.newest)[1]["position"]["epoch"]) if self.newest.exists() else 1

    def last_step(self) -> int:
        """Return the optimizer step after which the newest checkpoint was written; 0 without one."""
        return int(self.read(self.newest)[1]["position"]["step"]) if self.newest.exists() else 0


class TrainedTensors:
    """The tensors of a network that training changes, by these names; the rest is frozen."""

    def __init__(self, network: nn.Module, names: Iterable[str]) -> None:
        self.network, self._names = network, list(names)

    def current(self) -> Tensors:
        """Return the tensors themselves, not copies."""
        state = self.network.state_dict(keep_vars=True)
        return {name: state[name] for name in self._names}

    def frozen(self) -> Tensors:
        """Return the tensors that training does not change."""
        changing = set(self._names)
        return {name: tensor for name, tensor in self.network.state_dict().items() if name not in changing}

    @cached_property
    def base(self) -> str:
        """Digest of the frozen rest: a checkpoint fits no other weights under the trained part."""
        return frozen_digest(self.network, self._names)


class CheckpointWriter:
    """Writes the checkpoints of a training, and tells when the next one is due.

    best: tensors of the best epoch until a checkpoint takes them along.
    """

    def __init__(self, checkpoints: Checkpoints, trained: TrainedTensors, world: World) -> None:
        self._checkpoints, self._trained, self._world = checkpoints, trained, world
        self._written_at = time.monotonic()
        self._frozen_base: str | None = None  # digest of the tensors in the file of the frozen part
        self.best: Tensors | None = None

    def is_due(self, every: float, device: torch.device) -> bool:
        """Return True, on all ranks alike, if the last checkpoint is older than `every` seconds."""
        # Rank 0's clock decides for all ranks: they wait for each other inside of `write`.
        due = self._world.leads and time.monotonic() - self._written_at > every
        return self._world.any(due, device)

    def write(self, position: Mapping[str, Any], tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
        """Write both checkpoints. tensors, state: those of `TrainingStep.state`."""
        # Best first: the position in a newest checkpoint must never name a best epoch that is not on disk.
        self.write_best(position)
        if self._world.leads:
            self._write_frozen()  # before the newest checkpoint, which can then be used without the weights file
            model = {f"model/{name}": tensor for name, tensor in self._trained.current().items()}
            whole = {"position": position, "base": self._trained.base, **state}
            Checkpoints.write(self._checkpoints.newest, {**model, **tensors}, whole)
        self._world.wait()
        self._written_at = time.monotonic()

    def _write_frozen(self) -> None:
        """Write the frozen tensors unless the file has them; other parts may be frozen after an adjustment."""
        path, base = self._checkpoints.frozen, self._trained.base
        if self._frozen_base is None and path.is_file():
            self._frozen_base = Checkpoints.read(path)[1]["base"]
        if self._frozen_base == base:
            return
        if tensors := self._trained.frozen():
            Checkpoints.write(path, tensors, {"base": base})
        else:
            path.unlink(missing_ok=True)
        self._frozen_base = base

    def write_best(self, position: Mapping[str, Any]) -> None:
        """Write the best checkpoint alone, after a training that must not be continued from where it is."""
        if self.best is not None and self._world.leads:
            scores = {"epoch": position["best_epoch"], "valid": position["best_valid"]}
            Checkpoints.write(self._checkpoints.best, self.best, scores)
        self.best = None
        self._world.wait()

    def read_newest(self) -> tuple[Tensors, dict[str, Any]]:
        """Return tensors and state of the newest checkpoint, and load its weights into the network.

        Raises NotResumable when there is no usable checkpoint, or when it belongs to another frozen part.
        """
        tensors, state = Checkpoints.read(self._checkpoints.newest)
        if state["base"] != self._trained.base:
            raise NotResumable(
                str(self._checkpoints.newest),
                "the weights under the trained part are not those that the run began with",
                fix="Put the original weights file back, or start a new run.",
            )
        load_into(self._trained.network, under(tensors, "model/"))
        return tensors, state


def trainable_state(model: nn.Module) -> Tensors:
    """Return the tensors that training changes: trainable parameters, and buffers of modules in training mode."""
    state: Tensors = {name: p for name, p in model.named_parameters() if p.requires_grad}
    # Statistics of BatchNorm change in training mode, whether or not its parameters are frozen.
    for prefix, module in model.named_modules():
        if module.training:
            for name, buffer in module.named_buffers(recurse=False):
                state[f"{prefix}.{name}" if prefix else name] = buffer
    return state


def frozen_digest(model: nn.Module, changing: Container[str]) -> str:
    """Return a hex digest of every tensor of the model that is not among `changing`."""
    whole = hashlib.blake2b(digest_size=16)
    for name, tensor in sorted(model.state_dict().items()):  # sorted: the order of modules must not count
        if name not in changing:
            flat = tensor.detach().cpu().contiguous().reshape(-1)
            whole.update(name.encode() + flat.view(torch.uint8).numpy().tobytes())
    return whole.hexdigest()


@torch.no_grad()
def load_into(model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Copy stored tensors over the model's of the same names; raises NotResumable when a name or a shape differs."""
    targets = dict(model.state_dict(keep_vars=True))
    for name, tensor in tensors.items():
        if name not in targets or targets[name].shape != tensor.shape:
            raise NotResumable(f"checkpoint tensor {name}", "the model has no tensor of that name and shape")
        targets[name].copy_(tensor)


def under(tensors: Mapping[str, Tensor], prefix: str) -> Tensors:
    """Return the tensors whose names begin with the prefix, without it."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def optimizer_state(optimizer: torch.optim.Optimizer) -> Tensors:
    """Return the optimizer's tensors as "<parameter index>.<name>"; rates and decays come from the recipe again."""
    state = optimizer.state_dict()["state"]
    return {
        f"{index}.{name}": torch.as_tensor(value)
        for index, entries in state.items()
        for name, value in entries.items()
        if value is not None
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    params = [p for group in optimizer.param_groups for p in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        index, _, name = key.partition(".")
        param = params[int(index)]
        # A copy, since an optimizer changes what it is given; and laid out like its parameter, because the fused
        # kernels walk both through memory side by side without looking at strides.
        like = torch.empty_like(param, dtype=value.dtype) if value.shape == param.shape else torch.empty_like(value)
        state.setdefault(int(index), {})[name] = like.detach().copy_(value)
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": state, "param_groups": groups})


def read_tensors(path: Path, key: str) -> tuple[Tensors, dict[str, Any]]:
    """Return the tensors of a safetensors file, and the JSON object that its metadata has under `key`.

    Raises NotResumable for a missing or damaged file.
    """
    try:
        with safe_open(path, framework="pt") as stored:
            tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118 - not a mapping
            return tensors, json.loads((stored.metadata() or {})[key])
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        raise NotResumable(str(path), f"it cannot be read ({error})") from error
