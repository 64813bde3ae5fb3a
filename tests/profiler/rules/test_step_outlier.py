"""StepOutlier finds steps that are much longer than the others, and their common reason."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from clearsight.core.errors import BadChoice
from clearsight.core.finding import Points, Severity
from clearsight.core.profile import Floats
from clearsight.debugger.storage.tape import Tape
from clearsight.profiler.rules.step_outlier import StepOutlier
from clearsight.testing.profiles import profile, profiled
from clearsight.testing.rules import only, verdict
from tests.profiler.rules.sagemaker_rule_faults import cpu, gpu, long_steps, on_cpu

STEPS = 300
EVERY_40TH = tuple(range(20, STEPS, 40))


def lasting(longer: Sequence[int], factor: float = 5.0, *, usual: float = 0.2, steps: int = STEPS) -> Floats:
    """Seconds of each step, those in `longer` (from 1) `factor` times as long."""
    seconds = np.full(steps, usual)
    seconds[np.array(longer, int) - 1] *= factor
    return seconds


def run(
    seconds: Floats,
    *,
    slow: str = "forward",
    pauses: Mapping[str, Mapping[int, float]] | None = None,
    per_epoch: int = 50,
) -> Tape:
    """A run whose long steps lose their time in the phase `slow`."""
    phases: dict[str, Floats] = {name: np.full(len(seconds), 0.05) for name in ("data", "forward", "backward")}
    phases[slow] = seconds - 0.1
    measured = profile(
        steps=len(seconds), seconds=seconds, phases=phases, pauses=pauses, per_epoch=per_epoch, noise=0.03
    )
    return profiled(measured)


def test_found_when_many_steps_take_five_times_as_long() -> None:
    finding = only(StepOutlier(), long_steps())
    assert finding.found
    assert finding.value == 8
    assert finding.steps == (20, 300)
    assert "steps 20, 60, 100" in finding.cause
    assert finding.because == ("DataWait",)


def test_two_long_steps_or_one_per_cent_are_allowed() -> None:
    assert verdict(StepOutlier(), run(lasting([100, 200]))) == "clear"
    assert verdict(StepOutlier(), run(lasting([100, 200, 250], steps=400))) == "clear"
    assert verdict(StepOutlier(), run(lasting([20, 40, 60], steps=100))) == "found"


def test_the_first_three_steps_warm_up() -> None:
    finding = only(StepOutlier(), run(lasting([1, 2, 3], 40, steps=60)))
    assert (finding.verdict, finding.value) == ("clear", 0)


def test_outliers_do_not_hide_each_other() -> None:
    seconds = lasting(range(10, 300, 8), 4)
    by_mean = int((seconds > seconds.mean() + 3 * seconds.std()).sum())  # SageMaker's measure
    assert by_mean == 0
    assert only(StepOutlier(), run(seconds)).value == len(range(10, 300, 8))


def test_a_step_that_is_a_third_longer_is_clear() -> None:
    assert verdict(StepOutlier(), run(lasting(EVERY_40TH, 1.3))) == "clear"


def test_two_kinds_of_step_are_no_outliers() -> None:
    assert verdict(StepOutlier(), run(lasting(range(4, 301, 4), 3))) == "clear"


def test_severity_follows_the_cost() -> None:
    assert only(StepOutlier(), run(lasting(EVERY_40TH, 6))).severity is Severity.WARNING
    assert only(StepOutlier(), run(lasting(EVERY_40TH, 2))).severity is Severity.INFO


def test_the_reason_is_the_start_of_an_epoch() -> None:
    finding = only(StepOutlier(), run(lasting(range(21, 300, 20)), slow="data", per_epoch=20))
    assert "all 14 are the first of an epoch, 14 of them waiting for their batches" in finding.cause
    assert "between epochs" in finding.advice


def test_the_reason_is_a_checkpoint() -> None:
    pauses = {"checkpoint": dict.fromkeys([step - 1 for step in EVERY_40TH], 0.3)}
    assert (
        "coincide with a checkpoint or validation" in only(StepOutlier(), run(lasting(EVERY_40TH), pauses=pauses)).cause
    )


def test_the_reason_is_a_phase() -> None:
    finding = only(StepOutlier(), run(lasting(EVERY_40TH), slow="backward"))
    assert "the time was spent on backward" in finding.cause
    assert not finding.because


def test_cores_in_use_by_other_processes_are_info() -> None:
    crowded = on_cpu(gauges={"cpu": 99.0, "tree.cpu": 60.0}, phases={}, seconds=lasting(EVERY_40TH))
    finding = only(StepOutlier(), crowded)
    assert finding.found
    assert finding.severity is Severity.INFO
    assert "other processes use" in finding.cause


def test_without_phases_it_still_finds_them() -> None:
    assert verdict(StepOutlier(), profiled(profile(steps=STEPS, seconds=lasting(EVERY_40TH)))) == "found"


def test_parameters_of_sagemaker_are_accepted() -> None:
    assert verdict(StepOutlier(n_outliers=10), long_steps()) == "clear"
    assert verdict(StepOutlier(n_outliers=0), run(lasting([100]))) == "found"
    assert verdict(StepOutlier(stddev=300), long_steps()) == "clear"
    with pytest.raises(BadChoice, match="mode"):
        StepOutlier.parse({"mode": "eval"})


def test_the_missing_data_is_counted() -> None:
    assert only(StepOutlier(), run(lasting([], steps=9))).points == Points(9, 23, "timed steps")
    assert [verdict(StepOutlier(), whole) for whole in (cpu(), gpu())] == ["clear", "clear"]


def test_outliers_that_cost_less_than_a_second_are_clear() -> None:
    quick = np.full(300, 0.002)
    quick[50::20] = 0.01  # a tenth of a second in total
    assert verdict(StepOutlier(), profiled(profile(steps=300, seconds=quick))) == "clear"
    assert verdict(StepOutlier(n_outliers=3), profiled(profile(steps=300, seconds=quick))) == "found"
