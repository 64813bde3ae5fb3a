"""LiveProfile averages recent phases and gauges of a growing profile folder."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from clearsight.core.profile import GaugeSample, StepTimes
from clearsight.core.profile_folder import gauge_line, gauges_file, span_line, spans_file
from clearsight.workflow.live.profile import LiveProfile


def append_steps(folder: Path, seconds: Sequence[float], phases: dict[str, float]) -> None:
    with spans_file(folder).open("a", encoding="utf-8") as file:
        for number, duration in enumerate(seconds, start=1):
            times = StepTimes(step=number, epoch=1, start=0.0, seconds=duration, samples=8, phases=phases)
            file.write(span_line(times))


def append_samples(folder: Path, *samples: dict[str, float]) -> None:
    with gauges_file(folder).open("a", encoding="utf-8") as file:
        file.writelines(gauge_line(GaugeSample(time=float(i), values=values)) for i, values in enumerate(samples))


@pytest.fixture
def profile(tmp_path: Path) -> LiveProfile:
    return LiveProfile(tmp_path)


def test_a_folder_that_does_not_exist_yet_is_empty(tmp_path: Path) -> None:
    profile = LiveProfile(tmp_path / "later")
    profile.update()
    assert (profile.phases, profile.gauges, profile.ranks) == ({}, {}, 1)


def test_phases_are_mean_seconds_and_the_rest_of_the_step_is_other(tmp_path: Path, profile: LiveProfile) -> None:
    append_steps(tmp_path, [1.0, 2.0], {"forward": 0.5, "data": 0.25, "own": 0.25})
    profile.update()
    assert profile.phases == pytest.approx({"data": 0.25, "forward": 0.5, "own": 0.25, "other": 0.5})
    assert [*profile.phases] == ["data", "forward", "own", "other"]  # known phases in their order, then the others


def test_only_the_last_fifty_steps_count(tmp_path: Path, profile: LiveProfile) -> None:
    append_steps(tmp_path, [100.0] * 10 + [1.0] * 50, {"forward": 1.0})
    profile.update()
    assert profile.phases == pytest.approx({"forward": 1.0, "other": 0.0})


def test_gauges_are_means_of_the_samples_that_have_them(tmp_path: Path, profile: LiveProfile) -> None:
    append_samples(tmp_path, {"cpu": 10.0}, {"cpu": 30.0, "gpu0": 50.0})
    profile.update()
    assert profile.gauges == {"cpu": 20.0, "gpu0": 50.0}


def test_ranks_are_those_of_the_machine_file(tmp_path: Path, profile: LiveProfile) -> None:
    (tmp_path / "machine.json").write_text(json.dumps({"ranks": 4}))
    profile.update()
    assert profile.ranks == 4
