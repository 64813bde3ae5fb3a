from __future__ import annotations

import math

from clearsight.core.profile import GaugeSample, Profile, StepTimes
from clearsight.reports.run.utilisation import ranks_table, readings_table, utilisation_panels
from tests.reports.watched import busy_gpus, slow_profile


def keys(profile: Profile) -> list[str]:
    return [panel.key.removeprefix("system-") for panel in utilisation_panels(profile)]


def test_without_samples_nothing_is_drawn() -> None:
    assert utilisation_panels(Profile()) == []
    assert readings_table(Profile()).rows == ()


def test_without_a_gpu_the_cores_are_the_device() -> None:
    utilisation, each, memory, traffic = utilisation_panels(slow_profile())
    assert [trace.name for trace in utilisation.figure.data] == [
        "cores (this job)",
        "cores (all programs)",
        "cores waiting for I/O",
    ]
    assert each.figure.data[0].type == "heatmap"
    assert [trace.name for trace in memory.figure.data] == ["memory of this job"]
    assert [trace.name for trace in traffic.figure.data] == ["read by this job", "read from disks"]


def test_few_cores_are_lines_and_a_single_one_has_no_chart_of_its_own() -> None:
    def machine(cores: int) -> Profile:
        values = {"cpu": 50.0, **{f"cpu{core}": 50.0 for core in range(cores)}}
        return Profile(gauge_samples=[GaugeSample(time=float(i), values=values) for i in range(5)])

    assert [panel.figure.data[0].type for panel in utilisation_panels(machine(2))] == ["scatter", "scatter"]
    assert keys(machine(1)) == ["utilisation"]


def test_few_gpus_are_lines_and_many_have_a_map_too() -> None:
    assert "GPU 1" in [trace.name for trace in utilisation_panels(busy_gpus(2))[0].figure.data]
    assert keys(busy_gpus(2)) == ["utilisation", "cores", "memory", "traffic"]
    assert keys(busy_gpus(8)) == ["utilisation", "gpus", "cores", "memory", "traffic"]


def test_gauges_without_a_finite_reading_are_not_drawn() -> None:
    absent = {"cpu": math.nan, "tree.memory": math.nan, **{f"cpu{core}": math.nan for core in range(8)}}
    assert utilisation_panels(Profile(gauge_samples=[GaugeSample(time=1.0, values=absent)])) == []


def test_a_map_of_many_cores_stays_small() -> None:
    profile = busy_gpus(1, steps=4000, cores=192)
    (each,) = [panel for panel in utilisation_panels(profile) if panel.key == "system-cores"]
    assert len(each.json) < 400_000
    assert len(each.table.rows) == 192


def test_readings_list_every_gauge_except_many_cores() -> None:
    assert "core 0" not in {row[0] for row in readings_table(slow_profile(cores=8)).rows}
    assert "core 0" in {row[0] for row in readings_table(slow_profile(cores=2)).rows}


def test_processes_of_a_distributed_run_have_a_row_each() -> None:
    steps = [
        StepTimes(step=i, epoch=1, start=float(i), seconds=0.1 * (rank + 1), phases={"data": 0.05}, rank=rank)
        for rank in (0, 1)
        for i in range(1, 5)
    ]
    samples = [GaugeSample(time=2.0, values={"gpu0": 80.0 - 40 * rank}, rank=rank) for rank in (0, 1)]
    assert ranks_table(Profile(gauge_samples=samples, step_times=steps)).rows == (
        ("0", "4", "100.0", "50.0%", "80%"),
        ("1", "4", "200.0", "25.0%", "40%"),
    )
