"""Setup: one training run of the zoo, all that decides it; and Fault: what is wrong with one, with its known cause."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from clearsight.core.recipe import Recipe

NO_NUMBER = 1e9  # what a loss that is no longer a number counts as: JSON knows no infinity
Measure = Literal["accuracy", "loss", "honesty"]

# What the zoo's loop does of a recipe. A fix that names only other settings changes nothing there and counts as failed.
HONOURED = frozenset(
    (
        *("optimizer", "lr", "schedule", "warmup", "step_size", "gamma", "epochs", "batch_size", "weight_decay"),
        *("momentum", "clip_grad", "class_weights", "sampling", "label_smoothing", "augment", "freeze", "mean", "std"),
        *("patience", "monitor", "weights", "eps"),
    )
)


@dataclass(frozen=True, kw_only=True)
class FaultSetup:
    """A run to be made. The same setup gives the same run, weight by weight.

    network, data: names of `networks` and `images`.  side: pixels.  train_size, valid_size: images, evenly over the
    classes.  plant: a fault in the code of the loop, "" for none.
    """

    network: str
    data: str
    seed: int
    recipe: Recipe
    side: int = 32
    train_size: int = 320
    valid_size: int = 160
    plant: str = ""

    def changed(self, **settings: Any) -> FaultSetup:
        """The setup with other recipe fields."""
        return replace(self, recipe=self.recipe.replace(**settings))

    def repaired(self, fix: Mapping[str, Any]) -> FaultSetup:
        """The setup with a finding's fix; the plant stays, as a fix cannot rewrite somebody's code."""
        return self.changed(**fix)


@dataclass(frozen=True, kw_only=True)
class Fault:
    """Something that is wrong with a run, and why.

    expected: the rules that name the cause, the exact one first.  apply: a healthy setup made faulty.  networks: where
    it makes sense, () for everywhere.  repairable: whether recipe fields can undo it.  measure: where the harm
    shows; honesty is how much of the validation accuracy other images confirm.
    """

    name: str
    what: str
    expected: tuple[str, ...]
    apply: Callable[[FaultSetup], FaultSetup]
    networks: tuple[str, ...] = ()
    repairable: bool = False
    measure: Measure = "accuracy"

    def fits(self, setup: FaultSetup) -> bool:
        """Whether the fault makes sense on a healthy setup."""
        return not self.networks or setup.network in self.networks


@dataclass(frozen=True, kw_only=True)
class FaultScore:
    """How a run went, by its validation images, once an epoch.

    accuracy, loss: of the weights that are kept: the last, or the best where the recipe has a patience.  honest:
    accuracy of the last on images outside of the run.  A loss that is no longer a number is `NO_NUMBER`.
    """

    accuracy: float
    loss: float
    honest: float
    steps: int
    seconds: float
    accuracies: tuple[float, ...] = ()
    losses: tuple[float, ...] = ()

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> FaultScore:
        """Out of what JSON made of `asdict`."""
        return cls(**{**values, "accuracies": tuple(values["accuracies"]), "losses": tuple(values["losses"])})
