"""Dataloader minds the number of readers only where training feels it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from clearsight.core.context import RunContext
from clearsight.core.finding import Points
from clearsight.debugger.storage.tape import Tape
from clearsight.profiler.rules.dataloader import Dataloader
from clearsight.testing.profiles import CPU_MACHINE, profile, profiled
from clearsight.testing.rules import only, verdict
from tests.profiler.rules.faults_d import WAITING, cpu, on_cpu, one_reader


def read_by(workers: int | None, *, busy: float = 35.0, waits: bool = True) -> Tape:
    machine = replace(CPU_MACHINE, workers=workers)
    return on_cpu(gauges={"cpu": busy}, phases=WAITING if waits else None, machine=machine)


def test_found_when_one_reader_keeps_training_waiting() -> None:
    finding = only(Dataloader(), one_reader())
    assert finding.found
    assert finding.fix == {"workers": 8}
    assert "1 reader on 8 cores" in finding.cause
    assert finding.value == pytest.approx(12.5)


def test_few_readers_that_are_enough_are_clear() -> None:
    assert verdict(Dataloader(), read_by(1, waits=False)) == "clear"


def test_more_readers_do_not_help_where_the_cores_are_full() -> None:
    assert verdict(Dataloader(), read_by(1, busy=97.0)) == "clear"


def test_reading_in_the_training_thread_is_no_reader_at_all() -> None:
    finding = only(Dataloader(), read_by(0))
    assert finding.found
    assert "the training thread reads by itself" in finding.cause


def test_many_readers_are_found_only_where_they_fill_the_cores() -> None:
    assert verdict(Dataloader(), read_by(32, busy=50.0, waits=False)) == "clear"
    finding = only(Dataloader(), read_by(32, busy=98.0, waits=False))
    assert finding.found
    assert finding.threshold == 200


def test_an_unknown_number_is_said_to_be_unknown() -> None:
    finding = only(Dataloader(), read_by(None))
    assert finding.verdict == "not-enough-data"
    assert "not known how many readers" in finding.cause


def test_without_looks_at_the_cores_waiting_alone_decides() -> None:
    measured = profile(phases=WAITING, seconds=0.2, machine=replace(CPU_MACHINE, workers=1))
    finding = only(Dataloader(), profiled(measured))
    assert finding.found
    assert finding.confidence < only(Dataloader(), one_reader()).confidence


def test_a_foreign_loop_gets_advice_instead_of_flags() -> None:
    finding = only(Dataloader(), profiled(one_reader().profile, facts=RunContext()))
    assert not finding.fix
    assert "8 workers" in finding.advice


def test_says_how_much_is_missing() -> None:
    finding = only(Dataloader(), on_cpu(steps=7))
    assert finding.points == Points(7, 20, "timed steps")
    assert verdict(Dataloader(), cpu()) == "clear"
