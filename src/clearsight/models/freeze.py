"""Freezing: the first stages of a network stay exactly as they are, statistics included."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from clearsight.core.errors import BadChoice, BadValue
from clearsight.models.network import Network, Stage


@dataclass(frozen=True, eq=False)
class FrozenStages:
    """`network` with its first `cut` stages frozen: no gradients, BatchNorm statistics still, dropout off."""

    network: Network
    cut: int

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The frozen stages."""
        return self.network.stages[: self.cut]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the frozen stages."""
        return tuple(stage.name for stage in self.stages)

    def parameters(self) -> list[nn.Parameter]:
        """What an optimizer should get: everything that is not frozen."""
        return [parameter for parameter in self.network.model.parameters() if parameter.requires_grad]

    def train_mode(self) -> None:
        """Training mode everywhere but in the frozen stages; a loop calls it in the place of `model.train()`."""
        self.network.model.train()
        for stage in self.network.stages[self.cut :]:
            stage.run.train()
        for stage in self.stages:
            stage.run.eval()

    def eval_mode(self) -> None:
        """Evaluation mode everywhere."""
        self.network.model.eval()
        for stage in self.network.stages:
            stage.run.eval()


def freeze(network: Network, how: str) -> FrozenStages:
    """Freeze part of `network`, and thaw the rest.

    how: "none"; "backbone" (all stages); a count n (the stem, where the family has one, and the first n blocks); or
    the name of a stage (up to and including it). Raises BadValue for a count out of range, BadChoice for another word.
    """
    frozen = FrozenStages(network, _cut(network, how))
    unfreeze(network)
    for stage in frozen.stages:
        for parameter in stage.parameters():
            parameter.requires_grad_(False)
            parameter.grad = None
    frozen.train_mode()
    return frozen


def unfreeze(network: Network) -> FrozenStages:
    """Let all of `network` train again (but for what its family keeps constant), as in a second phase."""
    for name, parameter in network.model.named_parameters():
        parameter.requires_grad_(name not in network.fixed)
    frozen = FrozenStages(network, 0)
    frozen.train_mode()
    return frozen


def _cut(network: Network, how: str) -> int:
    names = network.stage_names
    if how == "none":
        return 0
    if how == "backbone":
        return len(names)
    stems = 1 if names[0] == "stem" and len(names) > 1 else 0
    if how.isascii() and how.lstrip("-").isdecimal():
        blocks = len(names) - stems
        if not 1 <= int(how) <= blocks:
            raise BadValue(
                f"--freeze {how}",
                f"{network.name} has {blocks} blocks, so a count is 1 to {blocks}",
                fix="Pass none to freeze nothing, backbone to freeze all but the head.",
            )
        return stems + int(how)
    if how not in names:
        raise BadChoice(
            f"--freeze {how}",
            f"{network.name} has no stage of that name",
            got=how,
            allowed=(*names, "backbone", "none"),
            fix=f"Or give a count of blocks: --freeze {max(1, len(names) - stems - 1)}.",
        )
    return names.index(how) + 1
