"""Arguments of the hook, checked and brought into one form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import nn

from clearsight.core.errors import BadChoice, BadValue
from clearsight.core.rule import Rule
from clearsight.debugger.rule_parser import select_rules

Losses = nn.Module | Sequence[nn.Module] | Mapping[str, nn.Module] | None


def check_numbers(workers: str, save_every: int | None, **planned: int) -> None:
    """Raise BadChoice or BadValue for a number below its range or an unknown choice of workers."""
    if workers not in ("one", "all"):
        raise BadChoice(f"workers {workers!r}", "there is no such choice", got=workers, allowed=("one", "all"))
    for name, number in planned.items():
        if number < 0:
            raise BadValue(f"{name} {number}", "must be 0 (not known) or more")
    if save_every is not None and save_every < 1:
        raise BadValue(f"save_every {save_every}", "must be 1 or more")


def rules_of(rules: str | Sequence[str | Rule]) -> list[Rule]:
    """Return rules by their names; Rule objects are returned as they are."""
    if isinstance(rules, str):
        return select_rules(rules)
    named = select_rules("none", [rule for rule in rules if isinstance(rule, str)])
    return [*named, *(rule for rule in rules if isinstance(rule, Rule))]


def check_watched(model: object, optimizer: object) -> None:
    """Raise BadValue for a model that is no module, or an optimizer that is none of PyTorch's."""
    if not isinstance(model, nn.Module):
        raise BadValue(f"watch({type(model).__name__})", "the model must be a torch.nn.Module")
    if optimizer is not None and not isinstance(optimizer, torch.optim.Optimizer):
        raise BadValue(f"watch(optimizer={type(optimizer).__name__})", "it must be a torch.optim.Optimizer")


def losses_of(loss: Losses) -> dict[str, nn.Module]:
    """Return loss modules by name, by default "loss", "loss_1" and so on. Raises BadValue for a function."""
    if loss is None:
        return {}
    if isinstance(loss, Mapping):
        named = dict(loss)
    else:
        # The first keeps the plain name, under which rules look for the loss.
        listed = list(loss) if isinstance(loss, Sequence) else [loss]
        named = {f"loss_{place}" if place else "loss": module for place, module in enumerate(listed)}
    for module in named.values():
        if not isinstance(module, nn.Module):
            raise BadValue(
                f"watch(loss={getattr(module, '__name__', module)})",
                "a watched loss must be a torch.nn.Module",
                fix="Report the value of a loss function with hook.record(loss=..., logits=..., labels=...).",
            )
    return named
