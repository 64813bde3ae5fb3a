from __future__ import annotations

from dataclasses import replace

import pytest

from clearsight.core.profile import Machine, Profile
from clearsight.reports.run.loading import batch_sentences, image_parts, loading_panels, loading_sentences
from clearsight.reports.run.step_times import StepPhases
from clearsight.testing.profiles import CPU_MACHINE, profile
from tests.reports.watched import busy_gpus, slow_profile


def text(measured: Profile) -> str:
    return " ".join(loading_sentences(measured, StepPhases.of(measured)))


def test_the_time_for_one_image_by_part() -> None:
    measured = profile(steps=20, load={"read": 0.032, "decode": 0.32, "images": 32})
    assert image_parts(measured) == pytest.approx({"read": 1.0, "decode": 10.0})
    (panel,) = loading_panels(measured)
    assert panel.table.rows == (("read", "1.00", "9.1%"), ("decode", "10.00", "90.9%"), ("total", "11.00", "100.0%"))


def test_without_counted_images_nothing_is_drawn() -> None:
    assert loading_panels(Profile()) == []
    assert loading_sentences(Profile(), StepPhases.of(Profile())) == []


def test_workers_their_capacity_and_the_waiting_are_described() -> None:
    measured = profile(
        steps=40,
        seconds=0.1,
        phases={"data": 0.06},
        load={"decode": 0.32, "images": 32, "bytes": 32 * 10240},
        machine=replace(CPU_MACHINE, cores=4, workers=2),
        padding=0.25,
    )
    assert text(measured) == (
        "2 loader threads prepare the batches on 4 cores. A loader worker takes 10.00 ms for an image, so together "
        "they can load about 200 images/s; training took 320. Training waited for data during 60.0% of the time of its "
        "steps. Loading an image reads 10 KiB. Padding of a single colour fills 25.0% of the input pixels."
    )


@pytest.mark.parametrize("machine", [Machine(workers=0), Machine(workers=2, reading="here")])
def test_a_loop_without_workers_loads_its_batches_itself(machine: Machine) -> None:
    assert text(profile(steps=9, machine=machine)).startswith("The training thread loads the batches itself")


def test_the_batch_size_is_shown_with_use_and_memory_of_the_device() -> None:
    measured = busy_gpus(1)
    sentences = batch_sentences(measured, StepPhases.of(measured))
    assert sentences[0] == "A batch has 128 images (73.5 MiB)."
    assert sentences[1].startswith("GPU 0 was busy 94% on average (97% at the 95th percentile), with at most")
    assert "% of the device" in sentences[1]


def test_without_a_gpu_the_cores_are_described() -> None:
    measured = slow_profile()
    sentences = batch_sentences(measured, StepPhases.of(measured))
    assert sentences[1].startswith("This job kept its cores busy")
    assert sentences[1].endswith(" of 32 GiB of memory in use.")


def test_without_samples_the_batch_size_is_left_out() -> None:
    assert batch_sentences(profile(steps=9), StepPhases.of(profile(steps=9))) == []
