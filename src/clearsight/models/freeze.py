"""Freezing of the first stages of a network: weights and statistics stay exactly as they are."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from clearsight.core.errors import BadChoice, BadValue
from clearsight.models.network import Network, Stage


@dataclass(frozen=True, eq=False)
class FrozenStages:
    """A network with its first `cut` stages frozen: no gradients, fixed BatchNorm statistics, no dropout."""

    network: Network
    cut: int

    @property
    def stages(self) -> tuple[Stage, ...]:
        return self.network.stages[: self.cut]

    def parameters(self) -> list[nn.Parameter]:
        """Return the parameters for an optimizer: all that are not frozen."""
        return [parameter for parameter in self.network.model.parameters() if parameter.requires_grad]

    def train_mode(self) -> None:
        """Set training mode, except in the frozen stages; a loop calls this instead of `model.train()`."""
        self.network.model.train()
        for stage in self.network.stages[self.cut :]:
            stage.run.train()
        for stage in self.stages:  # last: where stages share a module, the frozen one decides
            stage.run.eval()

    def eval_mode(self) -> None:
        """Set evaluation mode everywhere."""
        self.network.model.eval()
        for stage in self.network.stages:
            stage.run.eval()


def freeze(network: Network, extent: str) -> FrozenStages:
    """Freeze part of `network`, and let the rest train.

    extent: "none"; "backbone" (all stages); a count n (the stem, where the family has one, and the first n blocks); or
    the name of a stage (up to and including it). Raises BadValue for a count out of range, BadChoice for another word.
    """
    frozen = FrozenStages(network, _cut(network, extent))  # first: an error must leave the network as it is
    for name, parameter in network.model.named_parameters():
        parameter.requires_grad_(name not in network.fixed)
    for stage in frozen.stages:
        for parameter in stage.parameters():
            parameter.requires_grad_(False)
            parameter.grad = None  # left from an earlier phase, it would only take memory
    frozen.train_mode()
    return frozen


def unfreeze(network: Network) -> FrozenStages:
    """Let all of `network` train again, except for parameters that its family keeps constant."""
    return freeze(network, "none")


def _cut(network: Network, extent: str) -> int:
    names = network.stage_names
    if extent == "none":
        return 0
    if extent == "backbone":
        return len(names)
    # A count is of blocks: people say "the first three blocks" and do not count the stem.
    stems = 1 if names[0] == "stem" and len(names) > 1 else 0
    if extent.isascii() and extent.lstrip("-").isdecimal():
        blocks = len(names) - stems
        if not 1 <= int(extent) <= blocks:
            problem = f"{network.name} has {blocks} blocks, so a count is 1 to {blocks}"
            fix = "Pass none to freeze nothing, backbone to freeze all but the head."
            raise BadValue(f"--freeze {extent}", problem, fix=fix)
        return stems + int(extent)
    if extent not in names:
        problem, allowed = f"{network.name} has no stage of that name", (*names, "backbone", "none")
        fix = f"Or give a count of blocks: --freeze {max(1, len(names) - stems - 1)}."
        raise BadChoice(f"--freeze {extent}", problem, got=extent, allowed=allowed, fix=fix)
    return names.index(extent) + 1
