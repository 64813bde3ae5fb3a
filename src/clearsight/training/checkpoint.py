"""Checkpoints: one safetensors file each, written atomically; all that is no tensor stands as JSON in its header.

    newest.safetensors   all it takes to go on: weights, optimizer, average, position
    best.safetensors     the weights of the best epoch and its scores

Only what training changes is stored; the frozen rest is known by its digest and comes from where it came from first.
Random numbers need no state: every step draws from a generator seeded by (seed, rank, step).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from clearsight.core.errors import NotResumable
from clearsight.core.files import atomic

Tensors = dict[str, Tensor]


class Checkpoints:
    """The checkpoint folder of one run."""

    def __init__(self, folder: Path) -> None:
        self.newest, self.best = folder / "newest.safetensors", folder / "best.safetensors"
        self._good = {self.newest: folder / "good.safetensors", self.best: folder / "good-best.safetensors"}

    @staticmethod
    def write(path: Path, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
        """Replace one of the two files; raises DiskFull and leaves the old file whole when there is no room."""
        plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        with atomic(path) as part:
            save_file(plain, part, metadata={"state": json.dumps(state)})

    @staticmethod
    def read(path: Path) -> tuple[Tensors, dict[str, Any]]:
        """Tensors and state of one of the two files; raises NotResumable when it is missing or damaged."""
        try:
            with safe_open(path, framework="pt") as stored:
                tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118 - not a mapping
                state = json.loads((stored.metadata() or {})["state"])
        except FileNotFoundError:
            raise NotResumable(str(path), "there is no checkpoint", fix="Start the run again.") from None
        except Exception as error:  # safetensors raises its own kind for any damage
            raise NotResumable(str(path), f"the checkpoint cannot be read ({error})") from error
        return tensors, state

    def keep_good(self) -> None:
        """Remember the checkpoints as they are now: nothing was wrong with them. Costs a link, not a copy."""
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

    def last_step(self) -> int:
        """The optimizer step that the newest checkpoint was written after; 0 without one."""
        return int(self.read(self.newest)[1]["position"]["step"]) if self.newest.exists() else 0


def trainable_state(model: nn.Module) -> Tensors:
    """The tensors that training changes: trainable parameters, and buffers of modules that are in training mode."""
    state: Tensors = {name: p for name, p in model.named_parameters() if p.requires_grad}
    for prefix, module in model.named_modules():
        if module.training:
            for name, buffer in module.named_buffers(recurse=False):
                state[f"{prefix}.{name}" if prefix else name] = buffer
    return state


def frozen_digest(model: nn.Module, changing: Mapping[str, Tensor]) -> str:
    """Hex digest of every tensor of the model that is not among `changing`."""
    whole = hashlib.blake2b(digest_size=16)
    for name, tensor in sorted(model.state_dict().items()):
        if name not in changing:
            flat = tensor.detach().cpu().contiguous().reshape(-1)
            whole.update(name.encode() + flat.view(torch.uint8).numpy().tobytes())
    return whole.hexdigest()


@torch.no_grad()
def load_into(model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Copy stored tensors over the model's of the same names; raises NotResumable when a name or a shape is off."""
    own = dict(model.state_dict(keep_vars=True))
    for name, tensor in tensors.items():
        if name not in own or own[name].shape != tensor.shape:
            raise NotResumable(f"checkpoint tensor {name}", "the model has no tensor of that name and shape")
        own[name].copy_(tensor)


def optimizer_state(optimizer: torch.optim.Optimizer) -> Tensors:
    """The optimizer's tensors as "<parameter index>.<name>"; rates and decays come from the recipe again."""
    state = optimizer.state_dict()["state"]
    return {
        f"{index}.{name}": torch.as_tensor(value)
        for index, entries in state.items()
        for name, value in entries.items()
        if value is not None
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Put back what `optimizer_state` gave."""
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
