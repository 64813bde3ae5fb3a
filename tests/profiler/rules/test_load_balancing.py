"""LoadBalancing compares how two GPUs are used over all of a run."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from clearsight.core.finding import Severity
from clearsight.core.profile import Floats
from clearsight.profiler.rules.load_balancing import LoadBalancing, distance
from clearsight.testing.rules import only, verdict
from tests.profiler.rules.sagemaker_rule_faults import cpu, gpu, lopsided, on_gpu, two_gpus

USE = arrays(np.float64, st.integers(1, 30), elements=st.floats(0, 100))


def test_found_when_one_has_half_the_work() -> None:
    finding = only(LoadBalancing(), lopsided())
    assert finding.found
    assert finding.subject == "gpu1"
    assert finding.severity is Severity.WARNING
    assert "gpu0 is used to 92 % on average and gpu1 to 40 %" in finding.cause


def test_a_gpu_that_does_nothing_is_not_used_by_the_job() -> None:
    finding = only(LoadBalancing(), on_gpu(gauges={"gpu1": 0.0}))
    assert finding.found
    assert finding.severity is Severity.INFO
    assert "gpu1 does nothing" in finding.cause


def test_the_worst_pair_of_several_is_named() -> None:
    finding = only(LoadBalancing(), on_gpu(gauges={"gpu1": 85.0, "gpu2": 30.0}))
    assert [series.name for series in finding.evidence] == ["gpu0", "gpu2"]


def test_gpus_that_take_turns_are_clear() -> None:
    turns = on_gpu(gauges={"gpu0": [90.0, 20.0] * 20, "gpu1": [20.0, 90.0] * 20})
    assert verdict(LoadBalancing(), turns) == "clear"


def test_the_distance_does_not_depend_on_bins() -> None:
    assert distance(np.array([89.0]), np.array([91.0])) == pytest.approx(0.02)


@given(USE, USE)
def test_the_distance_is_a_metric(first: Floats, second: Floats) -> None:
    assert 0 <= distance(first, second) <= 1
    assert distance(first, second) == distance(second, first)
    assert distance(first, first) == 0


def test_fewer_than_two_gpus_are_not_enough_data() -> None:
    assert only(LoadBalancing(), gpu()).cause == "the machine has 1 of the 2 GPUs that the rule needs"
    assert only(LoadBalancing(), cpu()).cause == "the machine has 0 of the 2 GPUs that the rule needs"


def test_the_threshold_is_a_parameter() -> None:
    assert verdict(LoadBalancing(threshold=0.6), lopsided()) == "clear"
    assert verdict(LoadBalancing(), two_gpus()) == "clear"
