"""Logs are rotated while a process writes; no reader loses a line."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from clearsight.jobs.job import HealthCheck, JobSpec, JobState, JobStatus, Resources
from clearsight.jobs.log_file import follow, last_lines, last_words, rotate
from tests.jobs.conftest import until


def test_a_log_is_rotated_and_four_files_are_kept(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    for number in range(6):
        log.write_text(f"{number}\n" * 10)
        assert rotate(log, 15)
        assert not rotate(log, 15)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.log", "a.log.1", "a.log.2", "a.log.3"]
    assert (tmp_path / "a.log.1").read_text().startswith("5")
    assert last_lines(log, 2) == ["5", "5"]  # of the older file, since the newest is empty


def test_a_process_writes_on_after_the_rotation(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    code = "import sys\nfor line in sys.stdin: print(line, end='', flush=True)"
    with log.open("ab") as output:
        process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=output, text=True)
    assert process.stdin is not None
    lines: list[str] = []
    done = threading.Event()
    reader = threading.Thread(target=lambda: lines.extend(follow(log, done.is_set)))
    reader.start()
    for number in range(20):
        process.stdin.write(f"line {number}\n")
        process.stdin.flush()
        until(lambda number=number: len(lines) > number)
        if number % 9 == 8:
            rotate(log, 10)
    process.stdin.close()
    process.wait()
    done.set()
    reader.join(20)
    assert lines == [f"line {number}" for number in range(20)]


def test_the_last_words_of_a_traceback_are_its_error(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    assert last_words(log) == ""
    log.write_bytes(b"Traceback\n  File\nValueError: \xff no model\n\n")
    assert last_words(log) == "ValueError: \ufffd no model"


names = st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9-]{0,20}[A-Za-z0-9])?", fullmatch=True)
specs = st.builds(
    JobSpec,
    name=names,
    command=st.lists(st.text(), min_size=1).map(tuple),
    folder=st.just(Path("/tmp/x")),
    environment=st.dictionaries(st.text(), st.text()),
    restart=st.sampled_from(["always", "on-failure", "never"]),
    health=st.none() | st.builds(HealthCheck, url=st.text()),
    resources=st.builds(Resources, cores=st.lists(st.integers(0, 99)).map(tuple)),
)
states = st.builds(
    JobState,
    status=st.sampled_from(JobStatus),
    process=st.dictionaries(st.text(), st.integers()),
    starts=st.integers(0, 9),
    exit_code=st.none() | st.integers(-64, 255),
    reason=st.text(),
)


@given(specs, states)
def test_specs_and_states_come_back_equal(spec: JobSpec, state: JobState) -> None:
    assert JobSpec.from_json(spec.to_json()) == spec
    assert JobState.from_json(state.to_json()) == state
