"""TracedClock: a step clock with a window of traced steps."""

from __future__ import annotations

from pathlib import Path

from clearsight.core.profile_folder import read_profile
from clearsight.profiler.external.traced_timer import TracedStepTimer
from clearsight.profiler.timing.step_timer import StepTimer
from tests.profiler.external.loops import Loop


def test_a_few_steps_are_traced_and_all_are_timed(tmp_path: Path) -> None:
    loop = Loop()
    clock = TracedStepTimer(StepTimer(tmp_path / "spans.jsonl"), tmp_path)
    images, labels = next(iter(loop.loader))
    for step in range(1, 21):
        with clock.phase("forward"):
            loss = loop.loss(images, labels)
        with clock.phase("backward"):
            loss.backward()  # type: ignore[no-untyped-call]
        clock.step(step, 1, 2)
    clock.close()
    profile = read_profile(tmp_path)
    assert len(profile.steps()) == 20
    assert profile.trace is not None
    assert (profile.trace.first, profile.trace.last) == (13, 16)
    assert "aten::addmm" in {operator.name for operator in profile.trace.operators}
    assert (tmp_path / "trace.json.gz").is_file()


def test_what_ended_before_the_window_has_no_trace(tmp_path: Path) -> None:
    clock = TracedStepTimer(StepTimer(tmp_path / "spans.jsonl"), tmp_path)
    with clock.phase("forward"):
        clock.cut()
    clock.close()
    assert read_profile(tmp_path).trace is None
