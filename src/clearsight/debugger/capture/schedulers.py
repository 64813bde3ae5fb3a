"""ScheduleTracker: the learning-rate scheduler of an optimizer, which a loop does not pass, and how it is stepped."""

from __future__ import annotations

import gc
import math
import weakref
from typing import Any

import torch
from torch.optim import lr_scheduler

from clearsight.core.context import ScheduleInfo

_SEARCH_AT = 3  # optimizer steps: by now every loop has made its scheduler
_SCHEDULERS = (lr_scheduler.LRScheduler, lr_scheduler.ReduceLROnPlateau)
_FALLEN = 0.1  # of the first rate: a decay is mostly over by then


class ScheduleTracker:
    """Finds the scheduler of an optimizer after its third step, and follows its steps from there."""

    def __init__(self, optimizer: torch.optim.Optimizer | None) -> None:
        self._optimizer = optimizer
        self._steps = 0  # of the optimizer
        self._scheduler: weakref.ref[Any] | None = None
        self._type, self._horizon, self._advanced = "", 0, 0
        self._mode = ""
        self._best: float | None = None
        self._base = 0.0

    def after_step(self) -> None:
        """Follow an optimizer step."""
        self._steps += 1
        if self._steps == _SEARCH_AT and self._optimizer is not None:
            self._find(self._optimizer)
        self.refresh()

    def info(self) -> ScheduleInfo:
        """Return what was seen so far."""
        if not self._type:
            return ScheduleInfo()
        self.refresh()
        return ScheduleInfo(
            type=self._type,
            horizon=self._horizon,
            advanced=self._advanced,
            steps=self._steps,
            mode=self._mode,
            best=self._best,
            base=self._base,
        )

    def refresh(self) -> None:
        """Read what the scheduler says of itself; its own count may follow the last optimizer step."""
        scheduler = self._scheduler() if self._scheduler is not None else None
        if scheduler is not None:
            self._advanced = int(scheduler.last_epoch)
            if isinstance(scheduler, lr_scheduler.ReduceLROnPlateau) and self._advanced:
                self._mode, self._best = str(scheduler.mode), float(scheduler.best)

    def _find(self, optimizer: torch.optim.Optimizer) -> None:
        # A scheduler refers to its optimizer and nothing refers to the scheduler: all objects are searched, once a run.
        found = [scheduler for scheduler in _referring(optimizer) if getattr(scheduler, "optimizer", None) is optimizer]
        # Of a chain the scheduler that holds the others: it counts the steps of the whole.
        whole = [s for s in found if hasattr(s, "_schedulers")]
        if len(found) == 1 or len(whole) == 1:
            scheduler = (whole or found)[0]
            self._scheduler, self._type = weakref.ref(scheduler), type(scheduler).__name__
            self._horizon = _horizon(scheduler)
            self._base = float(optimizer.param_groups[-1].get("initial_lr", 0.0))


def _referring(optimizer: torch.optim.Optimizer) -> list[Any]:
    """Return the schedulers that hold the optimizer in an attribute."""
    direct = gc.get_referrers(optimizer)
    # The attributes of an object are a dict of their own as soon as somebody has asked for it.
    attributes = [holder for holder in direct if type(holder) is dict and "last_epoch" in holder]
    owners = gc.get_referrers(*attributes) if attributes else []
    # By the type, because `isinstance` would wake lazy modules.
    found = {id(holder): holder for holder in (*direct, *owners) if issubclass(type(holder), _SCHEDULERS)}
    return list(found.values())


def _horizon(scheduler: Any) -> int:
    """Return the scheduler's own steps until it has run its course, begins again or is at a tenth; 0 for not known."""
    for name in ("total_steps", "T_max", "T_0"):
        if isinstance(value := getattr(scheduler, name, None), int) and value > 0:
            return value
    kind, gamma = type(scheduler), getattr(scheduler, "gamma", None)
    if kind is lr_scheduler.PolynomialLR:
        return int(scheduler.total_iters)
    if kind is lr_scheduler.MultiStepLR and scheduler.milestones:
        return int(max(scheduler.milestones))
    if isinstance(gamma, float) and 0 < gamma < 1 and kind in (lr_scheduler.ExponentialLR, lr_scheduler.StepLR):
        decays = max(1.0, math.log(_FALLEN) / math.log(gamma))
        return math.ceil(getattr(scheduler, "step_size", 1) * decays)
    return 0  # warm-ups end early on purpose, and the others have no end of their own
