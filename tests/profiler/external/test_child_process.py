"""child_process: a process profiles itself from the moment that it imports torch."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from clearsight.core.profile import Machine
from clearsight.core.profile_folder import read_profile
from clearsight.profiler.external.child_process import report_problem
from clearsight.profiler.external.collect import collect_profile

BEGIN = """
import sys
from pathlib import Path
from clearsight.profiler.external.child_process import begin
begin(Path(sys.argv[1]))
"""
TRAIN = """
import torch
model = torch.nn.Linear(2, 2)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for _ in range(5):
    model(torch.ones(3, 2)).sum().backward()
    optimizer.step()
"""


def run(folder: Path, code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", BEGIN + code, str(folder)], capture_output=True, text=True)


def test_without_torch_next_to_nothing_is_loaded(tmp_path: Path) -> None:
    done = run(tmp_path, "print(*sorted({name.partition('.')[0] for name in sys.modules}))")
    assert not set(done.stdout.split()) & {"torch", "numpy", "psutil", "pydantic", "logging"}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("end", "code"),
    [
        ("raise ValueError('no')", 1),
        ("import os, signal; os.kill(os.getpid(), signal.SIGTERM)", -signal.SIGTERM),
    ],
)
def test_steps_are_written_however_the_process_ends(tmp_path: Path, end: str, code: int) -> None:
    done = run(tmp_path, f"{TRAIN}\n{end}")
    assert done.returncode == code, done.stderr
    assert collect_profile(tmp_path, Machine()) == ""
    profile = read_profile(tmp_path)
    assert profile.steps().samples.tolist() == [3] * 5
    assert {span.name for span in profile.all_spans} == {"initialisation", "finalisation"}
    assert profile.machine.device == "cpu"


def test_a_missing_folder_and_a_signal_handler_of_the_script_change_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    code = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN){TRAIN}print(signal.getsignal(signal.SIGTERM))"
    done = run(tmp_path / "file", code)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "1\n"


def test_problems_are_reported_line_by_line(tmp_path: Path) -> None:
    report_problem(tmp_path, "no disk")
    report_problem(tmp_path, "no GPU")
    assert collect_profile(tmp_path, Machine()) == "no disk; no GPU"
    assert json.loads((tmp_path / "machine.json").read_text())["ranks"] == 1
