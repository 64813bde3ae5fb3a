"""A believable study whose values follow from a formula: the learning rate matters much, the batch size little."""

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
        Dimension(name="momentum", domain=FloatRange(low=0.5, high=0.99), condition={"optimizer": ("sgd",)}),
        Dimension(name="epochs", domain=IntRange(low=5, high=20)),
    )
)
START = 1_760_000_000.0
_GOLDEN = (0.7548776662466927, 0.5698402909980532, 0.618033988749895, 0.41421356, 0.73205080, 0.23606797, 0.64575131)


def point(number: int, space: Space = SPACE) -> dict[str, Value]:
    """A point of the space that depends on its number alone: steps of irrational lengths fill the space evenly."""
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
    """An accuracy that falls with the logarithmic distance of lr from the best, and a little with batch and dropout."""
    lr, batch, dropout = params["lr"], params.get("batch_size", 32), params.get("dropout", 0.2)
    assert isinstance(lr, float)
    assert isinstance(batch, int)
    assert isinstance(dropout, float)
    lost = 0.045 * math.log10(lr / best_lr) ** 2 + 0.012 * abs(math.log2(batch / 32)) + 0.06 * (dropout - 0.25) ** 2
    return max(0.905 - lost, 0.2)


def done(number: int, params: Params | None = None, value: float | None = None, **fields: Any) -> Trial:
    """A complete trial at `params`, or else at the point of its number."""
    params = point(number) if params is None else params
    value = accuracy(params) if value is None else value
    epochs = fields.pop("planned", None) or int(str(params.get("epochs", 8)))
    curve = {epoch: value * (1 - 0.6 * math.exp(-4 * epoch / epochs)) for epoch in range(1, epochs)}
    defaults: dict[str, Any] = {
        "values": (value,),
        "curve": {**curve, epochs: value},
        "scores": {"accuracy": value, "macro_f1": value - 0.01, "loss": 1.2 - value},
        "started": START + 22.0 * (number // 2) + number % 2,
        "seconds": 17.0 + number % 5,
        "worker": number % 2,
        "planned": epochs,
        "best_epoch": epochs,
    }
    return Trial(number=number, state=TrialState.COMPLETE, params=params, **(defaults | fields))


def stopped(number: int, at: int = 3, reason: str = "", **fields: Any) -> Trial:
    """A trial that was pruned after `at` epochs."""
    complete = done(number, **fields)
    reason = reason or f"accuracy {complete.curve[at]:.3f} after epoch {at} is below the median of the others"
    return replace(
        complete,
        state=TrialState.PRUNED,
        values=(),
        scores={},
        best_epoch=None,
        curve={epoch: value for epoch, value in complete.curve.items() if epoch <= at},
        seconds=complete.seconds * at / complete.planned,
        reason=reason,
    )


def broken(number: int, reason: str = "CUDA out of memory", **fields: Any) -> Trial:
    """A trial that failed."""
    complete = done(number, **fields)
    nothing: dict[str, Any] = {"values": (), "scores": {}, "curve": {}, "best_epoch": None}
    return replace(complete, state=TrialState.FAILED, seconds=3.0, reason=reason, **nothing)


def searched(count: int) -> list[Trial]:
    """`count` trials of a study: the worse half is pruned early, every thirteenth has failed."""
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
    """The plan of the study."""
    defaults: Mapping[str, Any] = {
        "data": "data/intel-scenes",
        "space": space,
        "objectives": (ACCURACY,),
        "trials": 30,
        "parallel": 2,
    }
    return StudyPlan(**{**defaults, **changes})
