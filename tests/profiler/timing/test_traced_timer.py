"""TracedStepTimer: all steps are timed and a few are traced."""

from __future__ import annotations

from pathlib import Path

from clearsight.core.profile_folder import read_profile
from clearsight.profiler.timing.step_log import StepLog
from clearsight.profiler.timing.step_timer import StepTimer
from clearsight.profiler.timing.traced_timer import TracedStepTimer
from tests.profiler.external.loops import Loop


def test_a_few_steps_are_traced_and_all_are_timed(tmp_path: Path) -> None:
    loop = Loop()
    timer = TracedStepTimer(StepTimer(StepLog(tmp_path / "spans.jsonl")), tmp_path)
    timer.start()
    images, labels = next(iter(loop.loader))
    for step in range(1, 21):
        with timer.phase("forward"):
            loss = loop.loss(images, labels)
        with timer.phase("backward"):
            loss.backward()  # type: ignore[no-untyped-call]
        timer.step(step, 1, 2)
    timer.close()
    profile = read_profile(tmp_path)
    assert len(profile.steps()) == 20
    assert profile.trace is not None
    assert (profile.trace.first, profile.trace.last) == (13, 16)
    assert "aten::addmm" in {operator.name for operator in profile.trace.operators}
    assert (tmp_path / "trace.json.gz").is_file()


def test_a_process_that_ends_before_the_window_has_no_trace(tmp_path: Path) -> None:
    timer = TracedStepTimer(StepTimer(StepLog(tmp_path / "spans.jsonl")), tmp_path)
    timer.start()
    with timer.phase("forward"):
        timer.cut()
    timer.close()
    assert read_profile(tmp_path).trace is None
