"""What a caller of the hook may pass, checked and in one form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import nn

from clearsight.core.errors import BadChoice, BadValue
from clearsight.core.rule import Rule

Losses = nn.Module | Sequence[nn.Module] | Mapping[str, nn.Module] | None


def check_numbers(workers: str, save_every: int | None, **planned: int) -> None:
    """Raise BadChoice or BadValue for a number below its range or an unknown choice of workers."""
    if workers not in ("one", "all"):
        raise BadChoice(f"workers {workers!r}", "there is no such choice", got=workers, allowed=("one", "all"))
    for name, number in planned.items():
        if number < 0:
            raise BadValue(f"{name} {number}", "it must be 0 (not known) or more")
    if save_every is not None and save_every < 1:
        raise BadValue(f"save_every {save_every}", "it must be 1 or more")


def rules_of(rules: str | Sequence[str | Rule]) -> list[Rule]:
    """Rules by name, or as they are."""
    from clearsight.debugger.rule_parser import select_rules

    if isinstance(rules, str):
        return select_rules(rules)
    named = select_rules("none", [rule for rule in rules if isinstance(rule, str)])
    return [*named, *(rule for rule in rules if isinstance(rule, Rule))]


def check_watched(model: object, optimizer: object) -> None:
    """Raise BadValue for what is no module or optimizer."""
    if not isinstance(model, nn.Module):
        raise BadValue(f"watch({type(model).__name__})", "the model is no torch.nn.Module")
    if optimizer is not None and not isinstance(optimizer, torch.optim.Optimizer):
        raise BadValue(f"watch(optimizer={type(optimizer).__name__})", "it is no torch.optim.Optimizer")


def losses_of(loss: Losses) -> dict[str, nn.Module]:
    """Loss modules by name: "loss", then "loss_1" and so on where they have none. Raises BadValue for a function."""
    if loss is None:
        return {}
    if isinstance(loss, Mapping):
        named = dict(loss)
    else:
        listed = list(loss) if isinstance(loss, Sequence) else [loss]
        named = {f"loss_{place}" if place else "loss": module for place, module in enumerate(listed)}
    for module in named.values():
        if not isinstance(module, nn.Module):
            raise BadValue(
                f"watch(loss={getattr(module, '__name__', module)})",
                "a loss is watched as a torch.nn.Module",
                fix="Tell the value of a function with hook.record(loss=..., logits=..., labels=...).",
            )
    return named
