"""Profiles with gaps and odd values: no rule raises, every verdict is well-formed, and every estimate is finite."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clearsight.core.context import RunContext
from clearsight.core.finding import Finding, Verdict
from clearsight.core.profile import LOAD_PARTS, PHASES, GaugeSample, Machine, Operator, Profile, Span, StepTimes, Trace
from clearsight.core.recipe import Recipe
from clearsight.debugger.storage.tape import Tape
from clearsight.profiler.analysis.what_if import what_if
from clearsight.profiler.rules import PROFILER_RULES
from tests.profiler.rules.other_rule_faults import FAULTS

SECONDS = st.floats(0, 5, allow_subnormal=False)
GAUGES = (
    "cpu", "cpu.iowait", "tree.memory", "tree.switches", "memory", "memory.available", "shm", "gpu0", "gpu0.memory",
)  # fmt: skip
MACHINES = st.builds(
    Machine,
    cores=st.sampled_from([0, 1, 2, 64]),
    threads=st.sampled_from([0, 1, 4, 256]),
    workers=st.sampled_from([None, 0, 1, 4]),
    reading=st.sampled_from(["", "threads", "processes", "here"]),
    prefetch=st.sampled_from([0, 2]),
    memory_bytes=st.sampled_from([0, 2**30]),
    shm_bytes=st.sampled_from([0, 2**26]),
    device=st.sampled_from(["", "cpu", "cuda"]),
    precision=st.sampled_from(["", "fp32", "bf16"]),
    channels_last=st.sampled_from([None, True, False]),
    pixels_kept=st.sampled_from([None, True, False]),
    batch_size=st.sampled_from([0, 1, 32]),
    batch_bytes=st.sampled_from([0, 2**24]),
)
OPERATORS = st.builds(Operator, name=st.just("add"), calls=st.integers(0, 99), cpu_seconds=SECONDS)
TRACES = st.none() | st.builds(
    Trace,
    first=st.integers(1, 9),
    last=st.integers(1, 20),
    seconds=SECONDS,
    operators=st.lists(OPERATORS, max_size=2).map(tuple),
    kernels=st.integers(0, 10_000),
    kernel_seconds=SECONDS,
)
CONTEXTS = st.builds(
    RunContext,
    steps=st.sampled_from([0, 10, 10_000]),
    epochs=st.integers(0, 3),
    batch_size=st.sampled_from([0, 32]),
    settings=st.sampled_from(
        [{}, {"keep_pixels": False, "image_size": 64, "augment": "light", "feature_cache": False}]
    ),
)


@st.composite
def profiles(draw: st.DrawFn) -> Profile:
    """Up to 60 steps and 40 gauge samples, with values that come and go, and clocks that stand still at times."""
    random = draw(st.randoms(use_true_random=False))
    with_device, scale = draw(st.booleans()), draw(st.sampled_from([0.0, 1e-3, 0.3, 2.0]))
    per_epoch = draw(st.sampled_from([1, 7, 30, 100]))
    phases = draw(st.sets(st.sampled_from(PHASES)))
    parts = draw(st.sets(st.sampled_from([*LOAD_PARTS, "images", "bytes"])))

    def some(names: set[str], size: float) -> dict[str, float]:
        return {name: size * random.random() for name in sorted(names) if random.random() < 0.8}

    now, steps = 1e9, []
    for i in range(draw(st.integers(0, 60))):
        seconds = scale * random.random()
        steps.append(
            StepTimes(
                step=i + 1, epoch=i // per_epoch + 1, start=now, seconds=seconds, samples=random.choice([0, 8, 32]),
                phases=some(phases, seconds), device=some(phases, seconds) if with_device else {},
                load=some(parts, 1e3), padding=random.choice([None, random.random()]),
            )
        )  # fmt: skip
        now += seconds
    names = draw(st.sets(st.sampled_from(GAUGES)))
    length = now - 1e9
    samples = [
        GaugeSample(
            time=1e9 + length * k / 40, values={name: random.choice([0.0, 50.0, 1e9 * k]) for name in sorted(names)}
        )
        for k in range(draw(st.integers(0, 40)))
    ]
    spans = [Span(name="validation", start=now, seconds=1.0)] if with_device else []
    return Profile(draw(MACHINES), samples, steps, spans, draw(TRACES))


def well_formed(finding: Finding) -> None:
    assert json.dumps(Finding.from_json(json.loads(json.dumps(finding.to_json(), allow_nan=False))).to_json())
    if finding.verdict is Verdict.NOT_ENOUGH_DATA:
        assert finding.points is not None
        assert 0 <= finding.points.have < finding.points.want
        assert finding.cause
    else:
        assert finding.value is not None
        assert finding.threshold is not None
        assert math.isfinite(finding.value)
    if finding.found:
        assert finding.steps is not None
        assert 0 <= finding.steps[0] <= finding.steps[1]
        assert finding.cause
        assert "nan" not in finding.cause.split()
        assert finding.fix or finding.advice
        assert finding.evidence
        assert all(series.steps for series in finding.evidence)
        Recipe().replace(**finding.fix)


def check(name: str, measured: Profile, context: RunContext, ended: bool) -> list[Finding]:
    rule: Any = PROFILER_RULES.load(name)()
    return list(rule.check(Tape(context, ended=ended, profile=measured)))


@pytest.mark.parametrize("name", sorted(FAULTS))
@settings(max_examples=30, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(measured=profiles(), context=CONTEXTS, ended=st.booleans())
def test_every_verdict_is_well_formed(name: str, measured: Profile, context: RunContext, ended: bool) -> None:
    findings = check(name, measured, context, ended)
    assert len(findings) == 1
    well_formed(findings[0])


@pytest.mark.parametrize("name", sorted(FAULTS))
def test_an_empty_run_is_not_enough(name: str) -> None:
    (finding,) = check(name, Profile(), RunContext(), ended=True)
    assert finding.verdict is Verdict.NOT_ENOUGH_DATA
    well_formed(finding)


@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(measured=profiles(), context=CONTEXTS)
def test_every_estimate_is_finite(measured: Profile, context: RunContext) -> None:
    for estimate in what_if(measured, context):
        json.dumps(asdict(estimate), allow_nan=False)
        assert estimate.seconds_then > 0
        assert estimate.gain >= 0.01
        Recipe().replace(**estimate.change)
