"""A believable study whose values follow from a formula: the learning rate counts for much, the batch for little."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from clearsight.core.space import Choice, Dimension, FloatRange, IntRange, Params, Space, Value
from clearsight.core.study import StudyPlan
from clearsight.core.trial import Objective, Trial, TrialState

ACCURACY = Objective("accuracy", "maximize")
SECONDS = Objective("seconds", "minimize")
SPACE = Space(
    (
        Dimension(name="lr", domain=FloatRange(low=1e-5, high=1e-1, log=True)),
        Dimension(name="batch_size", domain=Choice(values=(16, 32, 64))),
        Dimension(name="dropout", domain=FloatRange(low=0.0, high=0.6)),
        Dimension(name="warmup", domain=FloatRange(low=0.0, high=0.2)),
        Dimension(name="optimizer", domain=Choice(values=("adamw", "sgd"))),
        Dimension(name="momentum", domain=FloatRange(low=0.5, high=0.99), when={"optimizer": ("sgd",)}),
        Dimension(name="epochs", domain=IntRange(low=5, high=20)),
    )
)
START = 1_760_000_000.0
_GOLDEN = (0.7548776662466927, 0.5698402909980532, 0.618033988749895, 0.41421356, 0.73205080, 0.23606797, 0.64575131)


def point(number: int, space: Space = SPACE) -> dict[str, Value]:
    """A point of the space, the same for the same number: steps of irrational lengths, which fill it evenly."""
    params: dict[str, Value] = {}
    for place, dimension in enumerate(space.dimensions):
        share = (0.5 + (number + 1) * _GOLDEN[place % len(_GOLDEN)]) % 1.0
        if not dimension.applies(params) or dimension.name in params:
            continue
        domain = dimension.domain
        if isinstance(domain, Choice):
            params[dimension.name] = domain.values[int(share * len(domain.values))]
        else:
            span = math.log(domain.high / domain.low) if domain.log else domain.high - domain.low
            value = domain.low * math.exp(share * span) if domain.log else domain.low + share * span
            params[dimension.name] = round(value) if isinstance(domain, IntRange) else value
    return params


def accuracy(params: Params, best_lr: float = 6e-3) -> float:
    """Falls with the distance of lr from the best, by orders of magnitude; a little with the batch and dropout."""
    lr, batch, dropout = params["lr"], params.get("batch_size", 32), params.get("dropout", 0.2)
    assert isinstance(lr, float)
    assert isinstance(batch, int)
    assert isinstance(dropout, float)
    lost = 0.045 * math.log10(lr / best_lr) ** 2 + 0.012 * abs(math.log2(batch / 32)) + 0.06 * (dropout - 0.25) ** 2
    return max(0.905 - lost, 0.2)


def done(number: int, params: Params | None = None, value: float | None = None, **facts: Any) -> Trial:
    """A complete trial at `params`, else at the point of its number."""
    where = point(number) if params is None else params
    found = accuracy(where) if value is None else value
    epochs = facts.pop("planned", None) or int(str(where.get("epochs", 8)))
    curve = {epoch: found * (1 - 0.6 * math.exp(-4 * epoch / epochs)) for epoch in range(1, epochs)}
    told: dict[str, Any] = {
        "values": (found,),
        "curve": {**curve, epochs: found},
        "scores": {"accuracy": found, "macro_f1": found - 0.01, "loss": 1.2 - found},
        "started": START + 22.0 * (number // 2) + number % 2,
        "seconds": 17.0 + number % 5,
        "worker": number % 2,
        "planned": epochs,
        "best_epoch": epochs,
    }
    return Trial(number=number, state=TrialState.COMPLETE, params=where, **(told | facts))


def stopped(number: int, at: int = 3, reason: str = "", **facts: Any) -> Trial:
    """A trial stopped after `at` epochs."""
    whole = done(number, **facts)
    reason = reason or f"accuracy {whole.curve[at]:.3f} after epoch {at} is below the median of the others"
    return replace(
        whole,
        state=TrialState.PRUNED,
        values=(),
        scores={},
        best_epoch=None,
        curve={epoch: value for epoch, value in whole.curve.items() if epoch <= at},
        seconds=whole.seconds * at / whole.planned,
        reason=reason,
    )


def broken(number: int, reason: str = "CUDA out of memory", **facts: Any) -> Trial:
    """A trial that came to nothing."""
    whole = done(number, **facts)
    nothing: dict[str, Any] = {"values": (), "scores": {}, "curve": {}, "best_epoch": None}
    return replace(whole, state=TrialState.FAILED, seconds=3.0, reason=reason, **nothing)


def searched(count: int) -> list[Trial]:
    """`count` trials as a study leaves them: the weak half pruned early, every thirteenth failed."""
    trials = []
    for number in range(count):
        value = accuracy(point(number))
        if number % 13 == 12:
            trials.append(broken(number))
        elif number >= 6 and value < 0.8:
            trials.append(stopped(number, at=2 + number % 3))
        else:
            trials.append(done(number))
    return trials


def plan(space: Space = SPACE, **changes: Any) -> StudyPlan:
    """What was asked of the study."""
    told: Mapping[str, Any] = {
        "data": "data/intel-scenes",
        "space": space,
        "objectives": (ACCURACY,),
        "trials": 30,
        "parallel": 2,
    }
    return StudyPlan(**{**told, **changes})
