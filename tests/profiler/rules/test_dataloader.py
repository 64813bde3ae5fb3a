"""Dataloader judges the number of loader workers only if training is slower for it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from clearsight.core.context import RunContext
from clearsight.core.finding import Points
from clearsight.debugger.storage.tape import Tape
from clearsight.profiler.rules.dataloader import Dataloader
from clearsight.testing.profiles import CPU_MACHINE, profile, profiled
from clearsight.testing.rules import only, verdict
from tests.profiler.rules.sagemaker_rule_faults import WAITING, cpu, on_cpu, one_worker


def loaded_by(workers: int | None, *, busy: float = 35.0, waits: bool = True) -> Tape:
    machine = replace(CPU_MACHINE, workers=workers)
    return on_cpu(gauges={"cpu": busy}, phases=WAITING if waits else None, machine=machine)


def test_found_when_training_waits_for_one_worker() -> None:
    finding = only(Dataloader(), one_worker())
    assert finding.found
    assert finding.fix == {"workers": 8}
    assert "1 loader worker on 8 cores" in finding.cause
    assert finding.value == pytest.approx(12.5)


def test_few_workers_that_are_enough_are_clear() -> None:
    assert verdict(Dataloader(), loaded_by(1, waits=False)) == "clear"


def test_few_workers_on_full_cores_are_clear() -> None:
    assert verdict(Dataloader(), loaded_by(1, busy=97.0)) == "clear"


def test_loading_in_the_training_thread_counts_as_no_worker() -> None:
    finding = only(Dataloader(), loaded_by(0))
    assert finding.found
    assert "the training thread loads by itself" in finding.cause


def test_many_workers_are_found_only_if_they_fill_the_cores() -> None:
    assert verdict(Dataloader(), loaded_by(32, busy=50.0, waits=False)) == "clear"
    finding = only(Dataloader(), loaded_by(32, busy=98.0, waits=False))
    assert finding.found
    assert finding.threshold == 200


def test_an_unknown_number_is_not_enough_data() -> None:
    finding = only(Dataloader(), loaded_by(None))
    assert finding.verdict == "not-enough-data"
    assert "the number of loader workers or of cores is unknown" in finding.cause


def test_without_samples_of_the_cores_waiting_alone_decides() -> None:
    measured = profile(phases=WAITING, seconds=0.2, machine=replace(CPU_MACHINE, workers=1))
    finding = only(Dataloader(), profiled(measured))
    assert finding.found
    assert finding.confidence < only(Dataloader(), one_worker()).confidence


def test_an_external_loop_gets_advice_instead_of_a_fix() -> None:
    finding = only(Dataloader(), profiled(one_worker().profile, context=RunContext()))
    assert not finding.fix
    assert "8 loader workers" in finding.advice


def test_the_missing_data_is_counted() -> None:
    finding = only(Dataloader(), on_cpu(steps=7))
    assert finding.points == Points(7, 20, "timed steps")
    assert verdict(Dataloader(), cpu()) == "clear"
