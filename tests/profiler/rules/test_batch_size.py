"""BatchSize finds a machine with room for more images per step, if steps do not wait for something else."""

from __future__ import annotations

from dataclasses import replace

import pytest

from clearsight.core.context import RunContext
from clearsight.core.finding import Points
from clearsight.profiler.rules.batch_size import BatchSize
from clearsight.testing.profiles import CPU_MACHINE, profile, profiled
from clearsight.testing.rules import only, verdict
from tests.profiler.rules.sagemaker_rule_faults import WAITING, cpu, gpu, idle_gpu, on_cpu, on_gpu, small_batches


def test_found_when_nothing_is_used_to_the_full() -> None:
    finding = only(BatchSize(), small_batches())
    assert finding.found
    assert finding.fix == {"batch_size": 64}
    assert [series.name for series in finding.evidence] == ["gpu0", "gpu0.memory", "cpu"]


@pytest.mark.parametrize("full", ["cpu", "gpu0", "gpu0.memory"])
def test_one_full_resource_is_enough_to_be_clear(full: str) -> None:
    low = {"cpu": 30.0, "gpu0": 40.0, "gpu0.memory": 25.0}
    assert verdict(BatchSize(), on_gpu(gauges=low)) == "found"
    assert verdict(BatchSize(), on_gpu(gauges=low | {full: 90.0})) == "clear"


def test_all_gpus_in_use_must_be_below() -> None:
    low = {"cpu": 30.0, "gpu0": 40.0, "gpu0.memory": 25.0, "gpu1.memory": 25.0}
    assert verdict(BatchSize(), on_gpu(gauges=low | {"gpu1": 95.0})) == "clear"
    assert verdict(BatchSize(), on_gpu(gauges=low | {"gpu1": 0.0})) == "found"


def test_the_proposed_batch_fits_into_memory() -> None:
    finding = only(BatchSize(), on_gpu(gauges={"cpu": 30.0, "gpu0": 40.0, "gpu0.memory": 58.0}))
    assert finding.fix == {"batch_size": 48}


def test_waiting_for_batches_is_the_cause_and_a_larger_batch_no_fix() -> None:
    finding = only(BatchSize(), on_gpu(gauges={"cpu": 30.0, "gpu0": 40.0, "gpu0.memory": 25.0}, phases=WAITING))
    assert finding.found
    assert finding.because == ("DataWait",)
    assert not finding.fix
    assert "steps wait for their batches for 70 % of the time" in finding.cause


def test_an_external_loop_gets_advice_instead_of_a_fix() -> None:
    finding = only(BatchSize(), profiled(small_batches().profile, context=RunContext(batch_size=32)))
    assert not finding.fix
    assert "batches of 64" in finding.advice


def test_the_proposed_batch_stays_below_half_of_the_training_split() -> None:
    measured = small_batches().profile
    known = RunContext(batch_size=32, train_size=80, settings={"batch_size": 32})
    assert only(BatchSize(), profiled(measured, context=known)).fix == {"batch_size": 40}
    finding = only(BatchSize(), profiled(measured, context=replace(known, train_size=40)))
    assert not finding.fix
    assert "larger network" in finding.advice


def test_without_a_gpu_the_cores_are_the_device() -> None:
    finding = only(BatchSize(), on_cpu(gauges={"cpu": 45.0, "tree.cpu": 40.0}))
    assert finding.found
    assert finding.fix == {"batch_size": 64}
    assert verdict(BatchSize(), cpu()) == "clear"


def test_cores_that_training_cannot_use_do_not_count() -> None:
    half = replace(CPU_MACHINE, threads=4)
    assert verdict(BatchSize(), on_cpu(gauges={"cpu": 46.0, "tree.cpu": 46.0}, machine=half)) == "clear"
    assert verdict(BatchSize(), on_cpu(gauges={"cpu": 97.0, "tree.cpu": 40.0})) == "clear"


def test_the_busiest_samples_decide() -> None:
    busy_at_times = [40.0] * 9 + [95.0]
    low = {"cpu": 30.0, "gpu0.memory": 25.0}
    assert verdict(BatchSize(), on_gpu(gauges=low | {"gpu0": busy_at_times})) == "clear"


def test_thresholds_are_parameters() -> None:
    assert verdict(BatchSize(gpu_threshold_p95=30), small_batches()) == "clear"
    assert verdict(BatchSize(gpu_memory_threshold_p95=20), small_batches()) == "clear"
    assert verdict(BatchSize(cpu_threshold_p95=20), small_batches()) == "clear"
    assert verdict(BatchSize(), gpu()) == "clear"


def test_patience_is_a_parameter() -> None:
    finding = only(BatchSize(patience=1000), small_batches())
    assert finding.points == Points(120, 1000, "profiler samples")


def test_samples_before_the_first_step_do_not_count() -> None:
    start = profile(steps=10, seconds=0.5, gauges={"cpu": 5, "gpu0": 0, "gpu0.memory": 1}, initialisation=60)
    finding = only(BatchSize(), profiled(start))
    assert finding.points == Points(11, 20, "profiler samples")


def test_without_a_gauge_of_memory_there_is_not_enough_data() -> None:
    assert verdict(BatchSize(), profiled(profile(steps=300, gauges={"cpu": 10, "gpu0": 10}))) == "not-enough-data"
    assert only(BatchSize(), idle_gpu()).verdict == "clear"  # memory is well filled there
