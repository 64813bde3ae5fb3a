"""Setup of a run with or without a planted fault, the fault with its known cause, and the score of a run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from clearsight.core.recipe import Recipe

NONFINITE_LOSS = 1e9  # stands for a loss that is not finite: JSON has no infinity
# Scores of a run; honesty is how much of the validation accuracy other images confirm.
Measure = Literal["accuracy", "loss", "honesty"]

# Settings that the plain loop obeys. A fix of other settings alone changes nothing there and counts as failed.
HONOURED = frozenset(
    (
        *("optimizer", "lr", "schedule", "warmup", "step_size", "gamma", "epochs", "batch_size", "weight_decay"),
        *("momentum", "clip_grad", "class_weights", "sampling", "label_smoothing", "augment", "freeze", "mean", "std"),
        *("patience", "monitor", "weights", "eps"),
    )
)


@dataclass(frozen=True, kw_only=True)
class FaultSetup:
    """Settings of a run. The same setup gives the same run, weight by weight."""

    network: str  # a name of `networks`
    data: str  # a name of `images`
    seed: int
    recipe: Recipe
    side: int = 32  # pixels
    train_size: int = 320  # images, evenly over the classes
    valid_size: int = 160
    plant: str = ""  # a fault in the code of the loop

    def changed(self, **settings: Any) -> FaultSetup:
        """Return the setup with other recipe fields, such as those of a fix; a plant in the code stays."""
        return replace(self, recipe=self.recipe.replace(**settings))


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A fault of a run, and its cause."""

    name: str
    description: str
    expected: tuple[str, ...]  # the rules that name the cause, the exact one first
    apply: Callable[[FaultSetup], FaultSetup]  # makes a healthy setup faulty
    networks: tuple[str, ...] = ()  # where it makes sense, () for everywhere
    repairable: bool = False  # True if recipe fields can undo it
    measure: Measure = "accuracy"  # score that shows the harm

    def fits(self, setup: FaultSetup) -> bool:
        """Return True if the fault makes sense on a healthy setup."""
        return not self.networks or setup.network in self.networks


@dataclass(frozen=True, kw_only=True)
class FaultScore:
    """Score of a run by its validation images. A loss that is not finite is `NONFINITE_LOSS`."""

    accuracy: float  # of the weights that are kept: the last, or the best where the recipe has a patience
    loss: float  # of the same weights
    honest: float  # accuracy of the last weights on images outside the run
    steps: int
    seconds: float
    accuracies: tuple[float, ...] = ()  # once per epoch, as the losses
    losses: tuple[float, ...] = ()

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> FaultScore:
        """Return the score that `asdict` and JSON made."""
        return cls(**{**values, "accuracies": tuple(values["accuracies"]), "losses": tuple(values["losses"])})
