"""HeadFile: what a head learned that was trained among others, in one file: enough to make the run of it later."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from clearsight.core.errors import NotResumable
from clearsight.core.events import EpochRecord, StepRecord
from clearsight.core.files import atomic
from clearsight.training.heads.job import HeadResult
from clearsight.training.job import TrainingPosition

_HEAD, _STEPS = "head/", "steps/"


@dataclass(frozen=True, kw_only=True)
class HeadFile:
    """weights: the head's own tensors at its best epoch.  steps: name -> (S,) one value per training step."""

    weights: Mapping[str, Tensor]
    steps: Mapping[str, Tensor]
    epochs: tuple[EpochRecord, ...]
    best_epoch: int
    best_score: tuple[float, float] | None
    best_valid: Mapping[str, float]

    @classmethod
    def of(cls, result: HeadResult) -> HeadFile:
        """What a stack gave for one head."""
        steps = {"loss": result.loss, "accuracy": result.accuracy, "lr": result.lr}
        return cls(
            weights=result.best_state,
            steps={name: torch.as_tensor(values, dtype=torch.float64) for name, values in steps.items()},
            epochs=tuple(result.epochs),
            best_epoch=result.best_epoch or 0,
            best_score=result.best_score,
            best_valid=result.best_valid,
        )

    def write(self, path: Path) -> None:
        """Write the file whole or not at all."""
        tensors = {_HEAD + name: tensor.detach().cpu().contiguous() for name, tensor in self.weights.items()}
        tensors |= {_STEPS + name: values.contiguous() for name, values in self.steps.items()}
        facts = {
            "epochs": [asdict(epoch) for epoch in self.epochs],
            "best_epoch": self.best_epoch,
            "best_score": self.best_score,
            "best_valid": dict(self.best_valid),
        }
        with atomic(path, sync=False) as part:
            save_file(tensors, part, metadata={"facts": json.dumps(facts)})

    @classmethod
    def read(cls, path: Path) -> HeadFile:
        """The file at `path`; raises NotResumable where it is missing or damaged."""
        try:
            with safe_open(path, framework="pt") as stored:
                tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118 - not a mapping
                facts: dict[str, Any] = json.loads((stored.metadata() or {})["facts"])
            score = facts["best_score"]
            return cls(
                weights=_under(tensors, _HEAD),
                steps=_under(tensors, _STEPS),
                epochs=tuple(EpochRecord(**epoch) for epoch in facts["epochs"]),
                best_epoch=facts["best_epoch"],
                best_score=None if score is None else (score[0], score[1]),
                best_valid=facts["best_valid"],
            )
        except Exception as error:  # safetensors raises its own kind for any damage
            raise NotResumable(str(path), f"the weights of this trial cannot be read ({error})") from error

    def position(self, planned: int) -> TrainingPosition:
        """Where a run stands that has come to this end; planned: epochs of its recipe."""
        stale = self.epochs[-1].epoch - self.best_epoch
        return TrainingPosition(
            epoch=planned + 1,
            step=self.epochs[-1].step,
            phase_step=self.epochs[-1].step,
            best_epoch=self.best_epoch,
            best_score=self.best_score,
            best_valid=dict(self.best_valid),
            stale=stale,
        )

    def records(self, images: int, batch_size: int) -> Iterator[StepRecord | EpochRecord]:
        """Steps and epochs in the order in which a run tells of them. images: of an epoch."""
        loss, accuracy, rate = (self.steps[name].tolist() for name in ("loss", "accuracy", "lr"))
        before = 0
        for epoch in self.epochs:
            each = epoch.seconds / max(epoch.step - before, 1)
            for step in range(before, epoch.step):
                left = images - (step - before) * batch_size
                yield StepRecord(
                    step=step + 1,
                    epoch=epoch.epoch,
                    mode="train",
                    scalars={"loss": loss[step], "accuracy": accuracy[step], "lr": rate[step]},
                    samples=min(batch_size, left),
                    step_seconds=each,
                )
            yield epoch
            before = epoch.step


def _under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
