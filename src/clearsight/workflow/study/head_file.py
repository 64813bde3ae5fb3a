"""HeadFile: the training of a head in a stack, in one file; enough to write its run folder later."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from clearsight.core.errors import NotResumable
from clearsight.core.events import EpochRecord, StepRecord
from clearsight.core.files import atomic
from clearsight.training.checkpoint import read_tensors
from clearsight.training.heads.job import HeadResult
from clearsight.training.job import EpochSelection, TrainingPosition

_HEAD, _STEPS = "head/", "steps/"  # prefixes of the two kinds of tensors


@dataclass(frozen=True, kw_only=True)
class HeadFile:
    """weights: the head's tensors at its best epoch.  steps: name -> (S,) one value per training step.

    best_score: the monitored score and minus the loss of the best epoch, by which epochs were compared.
    """

    weights: Mapping[str, Tensor]
    steps: Mapping[str, Tensor]
    epochs: tuple[EpochRecord, ...]
    best_epoch: int
    best_score: tuple[float, float] | None
    best_valid: Mapping[str, float]

    @classmethod
    def of(cls, result: HeadResult) -> HeadFile:
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
        with atomic(path, sync=False) as part:  # an fsync would take longer than the training of a small head
            save_file(tensors, part, metadata={"facts": json.dumps(facts)})

    @classmethod
    def read(cls, path: Path) -> HeadFile:
        """Return the file at `path`; raises NotResumable if it is missing or damaged."""
        tensors, facts = read_tensors(path, "facts")
        try:
            score = facts["best_score"]
            return cls(
                weights=_with_prefix(tensors, _HEAD),
                steps=_with_prefix(tensors, _STEPS),
                epochs=tuple(EpochRecord(**epoch) for epoch in facts["epochs"]),
                best_epoch=facts["best_epoch"],
                best_score=None if score is None else (score[0], score[1]),
                best_valid=facts["best_valid"],
            )
        except (KeyError, IndexError, TypeError) as error:
            raise NotResumable(str(path), f"it cannot be read ({error!r})") from error

    def position(self, planned: int) -> TrainingPosition:
        """Return the position of a run that ended as this head did. planned: epochs of its recipe."""
        last = self.epochs[-1]
        return TrainingPosition(
            epoch=planned + 1,  # also after an early end: a run that is resumed there trains nothing more
            step=last.step,
            phase_step=last.step,
            selection=EpochSelection(
                best_epoch=self.best_epoch,
                best_score=self.best_score,
                best_valid=dict(self.best_valid),
                stale=last.epoch - self.best_epoch,
            ),
        )

    def records(self, images: int, batch_size: int) -> Iterator[StepRecord | EpochRecord]:
        """Yield steps and epochs in the order in which a run reports them. images: number of images in an epoch."""
        loss, accuracy, lr = (self.steps[name].tolist() for name in ("loss", "accuracy", "lr"))
        first_step = 0
        for epoch in self.epochs:
            step_seconds = epoch.seconds / max(epoch.step - first_step, 1)  # a stack measures no single steps
            for step in range(first_step, epoch.step):
                images_left = images - (step - first_step) * batch_size
                yield StepRecord(
                    step=step + 1,
                    epoch=epoch.epoch,
                    mode="train",
                    scalars={"loss": loss[step], "accuracy": accuracy[step], "lr": lr[step]},
                    samples=min(batch_size, images_left),
                    step_seconds=step_seconds,
                )
            yield epoch
            first_step = epoch.step


def _with_prefix(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
