"""A small training loop under a probe, for the tests of the probe."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext

import torch
from torch import Tensor, nn

from clearsight.core.tensors import SavedRecord, SaveSchedule
from clearsight.debugger.capture.probe import Probe
from clearsight.debugger.capture.save_plan import SavePlan, parse_save
from tests.debugger.networks import batches

StepScalars = dict[str, Tensor | float]
Disturb = Callable[[int, Tensor, nn.Module], None]


def plan_of(depth: str = "full", every: int = 5, requests: Sequence[str] = ()) -> SavePlan:
    """Return a plan with statistics of training every few steps."""
    schedules = {"train": SaveSchedule(every=every)}
    return SavePlan(depth=depth, schedules=schedules, requests=parse_save(requests))  # type: ignore[arg-type]


def probe_of(
    records: list[SavedRecord],
    depth: str = "full",
    every: int = 5,
    requests: Sequence[str] = (),
    planned_steps: int = 0,
) -> Probe:
    """Return a probe whose records are put into the list."""
    return Probe(plan_of(depth, every, requests), records.append, planned_steps=planned_steps)


def train(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    probe: Probe | None,
    *,
    steps: int = 12,
    micro: int = 1,
    clear: bool = True,
    autocast: bool = False,
    disturb: Disturb = lambda step, inputs, model: None,
) -> list[StepScalars]:
    """Train as our own loop does; return the scalars of each step.

    micro: batches per step.  clear: zero the gradients before each step.  disturb: changes inputs or model of a step.
    """
    scalars: list[StepScalars] = []
    data = iter(batches(steps * micro))
    scaler = torch.amp.GradScaler("cpu", enabled=autocast, init_scale=64.0)
    for step in range(1, steps + 1):
        if clear or step == 1:
            optimizer.zero_grad()
        if probe:
            probe.begin_step(step, 1)
        for _ in range(micro):
            inputs, labels = next(data)
            disturb(step, inputs, model)
            with torch.autocast("cpu", torch.bfloat16) if autocast else nullcontext():
                logits = model(inputs)
            if probe:
                probe.record_predictions(logits.detach(), labels)
            loss = nn.functional.cross_entropy(logits.float(), labels) / micro
            scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        if probe:
            scalars.append(probe.end_step())
            assert probe.guard.failure is None
    return scalars


def of_kind(records: list[SavedRecord], kind: type) -> list[SavedRecord]:
    """Return the records of one class."""
    return [record for record in records if isinstance(record, kind)]
