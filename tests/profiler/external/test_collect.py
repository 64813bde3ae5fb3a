"""collect: one profile from the files of several processes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from clearsight.core.profile import Machine, Span, StepTimes
from clearsight.core.profile_folder import read_profile, span_line
from clearsight.profiler.external.collect import collect_profile


@pytest.fixture
def processes(tmp_path: Path) -> Path:
    """Create the folder for files of single processes."""
    folder = tmp_path / "processes"
    folder.mkdir()
    return folder


def write(processes: Path, pid: int, start: float, *, rank: int = 0, steps: int = 2) -> None:
    spans = [Span(name="initialisation", start=start - 1, seconds=1)]
    times = [StepTimes(step=i + 1, epoch=1, start=start + i, seconds=1.0, samples=pid) for i in range(steps)]
    (processes / f"spans.{pid}.{rank}.jsonl").write_text("".join(map(span_line, [*spans, *times])))
    (processes / f"machine.{pid}.{rank}.json").write_text(json.dumps(Machine(workers=pid, batch_size=8).to_json()))


def test_the_first_process_that_trained_is_the_run(tmp_path: Path, processes: Path) -> None:
    write(processes, 30, start=200)
    write(processes, 20, start=100)
    write(processes, 10, start=50, steps=0)  # imported torch and trained nothing
    assert collect_profile(tmp_path, Machine(interval=0.5, launched=5.0)) == ""
    profile = read_profile(tmp_path)
    assert profile.steps().samples.tolist() == [20, 20]
    assert (profile.machine.workers, profile.machine.interval, profile.machine.launched) == (20, 0.5, 5.0)
    assert not processes.exists()


def test_every_rank_has_its_steps(tmp_path: Path, processes: Path) -> None:
    write(processes, 30, start=200, rank=1)
    write(processes, 20, start=100)
    collect_profile(tmp_path, Machine())
    profile = read_profile(tmp_path)
    assert profile.ranks() == (0, 1)
    assert profile.steps(1).samples.tolist() == [30, 30]
    assert profile.machine.ranks == 2


def test_a_command_that_trained_nothing_has_only_a_machine(tmp_path: Path) -> None:
    assert collect_profile(tmp_path, Machine(cores=4)) == ""
    assert read_profile(tmp_path).machine == Machine(cores=4)
    assert not read_profile(tmp_path)


def test_whole_lines_of_a_killed_process_are_read(tmp_path: Path, processes: Path) -> None:
    write(processes, 20, start=100)
    with (processes / "spans.20.0.jsonl").open("a") as file:
        file.write('{"step": 3, "epo')
    (processes / "machine.20.0.json").unlink()
    collect_profile(tmp_path, Machine(cores=4))
    assert read_profile(tmp_path).steps().steps.tolist() == [1, 2]
    assert read_profile(tmp_path).machine.cores == 4


def test_problems_and_hot_lines_are_collected(tmp_path: Path, processes: Path) -> None:
    (processes / "problem.txt").write_text("no torch\nno torch\nno luck\n")
    (processes / "lines.jsonl").write_text(
        '{"lines": {"a.py:1 decode": 3}}\n{"lines": {"a.py:1 decode": 0, "b.py:2 read": 1}}\n'
    )
    assert collect_profile(tmp_path, Machine()) == "no torch; no luck"
    assert json.loads((tmp_path / "hotlines.json").read_text()) == [
        {"where": "a.py:1 decode", "share": 0.75},
        {"where": "b.py:2 read", "share": 0.25},
    ]
