"""A profile on disk is plain lines, is read back unchanged, and may end in a torn line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clearsight.core.errors import BadData
from clearsight.core.profile import LOAD_PARTS, PHASES, GaugeSample, Machine, Operator, Profile, Span, StepTimes, Trace
from clearsight.core.profile_folder import (
    gauge_line,
    gauges_file,
    read_profile,
    rewind,
    span_line,
    spans_file,
    write_machine,
    write_trace,
)

seconds = st.floats(0, 1e4).map(lambda value: round(value, 6))
moments = st.floats(1.6e9, 2e9).map(lambda value: round(value, 6))
step_times = st.builds(
    StepTimes,
    step=st.integers(1, 10**6),
    epoch=st.integers(1, 1000),
    start=moments,
    seconds=seconds,
    samples=st.integers(0, 4096),
    phases=st.dictionaries(st.sampled_from(PHASES), seconds),
    device=st.dictionaries(st.sampled_from(PHASES), seconds),
    load=st.dictionaries(st.sampled_from(LOAD_PARTS), seconds),
    padding=st.none() | st.floats(0, 1).map(lambda value: round(value, 6)),
)
spans = st.builds(Span, name=st.text(min_size=1, max_size=8), start=moments, seconds=seconds, step=st.integers(0, 99))


def folder_with(folder: Path, *lines: str, rank: int = 0) -> Path:
    """A profile folder whose spans are these lines."""
    folder.mkdir(parents=True, exist_ok=True)
    spans_file(folder, rank).write_text("".join(lines), encoding="utf-8")
    return folder


def step(number: int) -> StepTimes:
    """A training step."""
    return StepTimes(step=number, epoch=1, start=1.7e9 + number, seconds=0.5, phases={"data": 0.25})


@given(st.lists(step_times | spans, max_size=5))
def test_steps_and_spans_are_read_back(
    tmp_path_factory: pytest.TempPathFactory, written: list[StepTimes | Span]
) -> None:
    profile = read_profile(folder_with(tmp_path_factory.mktemp("p"), *map(span_line, written)))
    assert list(profile.step_times) == [entry for entry in written if isinstance(entry, StepTimes)]
    assert list(profile.all_spans) == [entry for entry in written if isinstance(entry, Span)]


def test_a_line_leaves_out_empty_fields() -> None:
    assert json.loads(span_line(step(3))) == {
        "step": 3,
        "epoch": 1,
        "start": 1.7e9 + 3,
        "seconds": 0.5,
        "samples": 0,
        "phases": {"data": 0.25},
    }


def test_gauges_machine_and_trace_are_read_back(tmp_path: Path) -> None:
    samples = [
        GaugeSample(time=1.7e9, values={"cpu": 12.5, "memory.available": 1e9}),
        GaugeSample(time=1.7e9 + 0.5, values={}),
    ]
    trace = Trace(first=3, last=5, seconds=1.5, operators=(Operator(name="aten::mm", calls=3, cpu_seconds=0.5),))
    gauges_file(tmp_path).write_text("".join(map(gauge_line, samples)))
    write_machine(tmp_path, Machine(cores=2))
    write_trace(tmp_path, trace)
    profile = read_profile(tmp_path)
    assert (list(profile.gauge_samples), profile.machine, profile.trace) == (samples, Machine(cores=2), trace)


@pytest.mark.parametrize("key", ["images", "pictures"])
def test_old_files_count_images_under_another_key(tmp_path: Path, key: str) -> None:
    line = {"step": 1, "epoch": 1, "start": 1.7e9, "seconds": 0.5, "load": {"decode": 0.2, key: 32.0}}
    profile = read_profile(folder_with(tmp_path, json.dumps(line) + "\n"))
    assert profile.load("images").tolist() == [32.0]
    assert profile.step_times[0].load == {"decode": 0.2, "images": 32.0}


def test_every_rank_has_files_of_its_own(tmp_path: Path) -> None:
    for rank in (0, 1):
        folder_with(tmp_path, span_line(step(1)), rank=rank)
    assert read_profile(tmp_path).ranks() == (0, 1)


def test_no_folder_is_an_empty_profile(tmp_path: Path) -> None:
    assert not read_profile(tmp_path / "none")


def test_a_torn_last_line_is_left_out(tmp_path: Path) -> None:
    folder_with(tmp_path, span_line(step(1)), span_line(step(2))[:-9])
    assert [times.step for times in read_profile(tmp_path).step_times] == [1]


def test_rewind_drops_later_steps_alone(tmp_path: Path) -> None:
    span = Span(name="validation", start=1.7e9, seconds=1.0, step=3)
    folder_with(tmp_path, *map(span_line, (step(1), step(2), span, step(3))))
    rewind(tmp_path, 2)
    profile = read_profile(tmp_path)
    assert [times.step for times in profile.step_times] == [1, 2]
    assert list(profile.all_spans) == [span]
    rewind(tmp_path / "none", 2)


def test_empty_profile_of_an_empty_folder(tmp_path: Path) -> None:
    assert read_profile(tmp_path).machine == Profile().machine


@pytest.mark.parametrize("line", ['{"cut', '{"step": 1}', "[1, 2]", '{"name": "validation"}'])
def test_damage_in_the_middle_is_an_error_that_names_the_place(tmp_path: Path, line: str) -> None:
    folder_with(tmp_path, line + "\n", span_line(step(2)))
    with pytest.raises(BadData, match="Remove"):
        read_profile(tmp_path)


def test_a_damaged_description_of_the_machine_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "machine.json").write_text('{"cor')
    with pytest.raises(BadData, match="it is damaged"):
        read_profile(tmp_path)
