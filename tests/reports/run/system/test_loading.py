from __future__ import annotations

from dataclasses import replace

import pytest

from clearsight.core.profile import Machine, Profile
from clearsight.reports.run.system.loading import batch_sentences, loading_panels, loading_sentences, parts_of_a_image
from clearsight.reports.run.system.step_times import StepPhases
from clearsight.testing.profiles import CPU_MACHINE, profile
from tests.reports.watched import busy_gpus, slow_profile


def said(measured: Profile) -> str:
    return " ".join(loading_sentences(measured, StepPhases.of(measured)))


def test_what_a_image_costs_by_part() -> None:
    measured = profile(steps=20, load={"read": 0.032, "decode": 0.32, "images": 32})
    assert parts_of_a_image(measured) == pytest.approx({"read": 1.0, "decode": 10.0})
    (panel,) = loading_panels(measured)
    assert panel.table.rows == (("read", "1.00", "9.1%"), ("decode", "10.00", "90.9%"), ("in all", "11.00", "100.0%"))


def test_where_nobody_counted_nothing_is_drawn() -> None:
    assert loading_panels(Profile()) == []
    assert loading_sentences(Profile(), StepPhases.of(Profile())) == []


def test_readers_their_capacity_and_the_wait_are_said() -> None:
    measured = profile(
        steps=40,
        seconds=0.1,
        phases={"data": 0.06},
        load={"decode": 0.32, "images": 32, "bytes": 32 * 10240},
        machine=replace(CPU_MACHINE, cores=4, workers=2),
        padding=0.25,
    )
    assert said(measured) == (
        "2 reader threads make the batches on 4 cores. An image takes a reader 10.00 ms, so they can make about 200 "
        "images per second; training took 320. Training waited for data 60.0% of its steps' time. An image took "
        "10 KiB of reading. Borders of one colour fill 25.0% of the input."
    )


@pytest.mark.parametrize("machine", [Machine(workers=0), Machine(workers=2, reading="here")])
def test_a_loop_that_reads_for_itself_is_told_so(machine: Machine) -> None:
    assert said(profile(steps=9, machine=machine)).startswith("The training thread itself makes the batches")


def test_the_batch_size_stands_beside_how_busy_and_full_the_device_was() -> None:
    measured = busy_gpus(1)
    told = batch_sentences(measured, StepPhases.of(measured))
    assert told[0] == "With batches of 128 images, 73.5 MiB each:"
    assert told[1].startswith("GPU 0 was busy 94% on average, 97% at its p95, with at most")
    assert "% of the device" in told[1]


def test_without_a_gpu_it_speaks_of_the_cores() -> None:
    measured = slow_profile()
    told = batch_sentences(measured, StepPhases.of(measured))
    assert told[1].startswith("this job kept its cores busy")
    assert told[1].endswith("GiB of memory in use of 32 GiB.")


def test_without_looks_nothing_is_said_of_the_batch_size() -> None:
    assert batch_sentences(profile(steps=9), StepPhases.of(profile(steps=9))) == []
