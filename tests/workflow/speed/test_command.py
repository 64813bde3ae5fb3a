"""profile_command: any command is profiled, and runs as it does without."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import clearsight.cli
from clearsight.core.errors import BadValue, EmptyInput, NotFound, NotResumable
from clearsight.core.profile_folder import read_profile
from clearsight.workflow.speed.command import CommandOptions, ProfiledCommand, profile_command

INJECTED = Path(clearsight.cli.__file__).parent / "injected"
OFTEN = CommandOptions(every=0.1)


def run_command(*command: str, out: Path | None, **environment: str) -> ProfiledCommand:
    return profile_command(command, out, environment={**os.environ, **environment}, injected=INJECTED, options=OFTEN)


def test_a_command_without_torch_has_gauges_alone(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    code = "import os; sum(range(10**7)); print('hello', os.environ['MINE'], os.environ['PYTHONPATH'])"
    folders: list[Path] = []
    environment = {**os.environ, "MINE": "yes", "PYTHONPATH": "/their/own"}
    command = (sys.executable, "-c", code)
    profiled = profile_command(
        command, tmp_path / "run", environment=environment, injected=INJECTED, options=OFTEN, on_start=folders.append
    )
    assert (profiled.code, profiled.failure, profiled.folder, folders) == (0, "", tmp_path / "run", [tmp_path / "run"])
    assert capfd.readouterr().out == f"hello yes {INJECTED}:/their/own\n"
    profile = read_profile(tmp_path / "run" / "profile")
    assert "tree.cpu" in profile.gauges()
    assert not profile.step_times
    assert (profile.machine.interval, profile.machine.ranks) == (0.1, 1)
    assert (tmp_path / "run" / "report.html").is_file()
    assert (tmp_path / "run" / "findings.jsonl").is_file()


@pytest.mark.parametrize(
    ("code", "exit_code"), [("raise SystemExit(7)", 7), ("import os; os.kill(os.getpid(), 9)", 137)]
)
def test_the_exit_code_is_that_of_the_command(tmp_path: Path, code: str, exit_code: int) -> None:
    profiled = run_command(sys.executable, "-c", code, out=tmp_path / "run")
    assert profiled.code == exit_code
    assert profiled.breakdown.to_json()["steps"]["count"] == 0
    assert "failed" in (tmp_path / "run" / "report.html").read_text()


def test_folders_are_named_after_the_script_and_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my train.py").write_text("")
    assert run_command(sys.executable, "my train.py", out=None).folder == Path("runs/my-train-1")
    assert run_command(sys.executable, "my train.py", out=None).folder == Path("runs/my-train-2")
    assert run_command("true", out=None).folder == Path("runs/true-1")


def test_mistakes_are_raised_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(EmptyInput, match="there is no command"):
        run_command(out=tmp_path / "run")
    with pytest.raises(NotFound, match="no such program"):
        run_command("no-such-program-anywhere", out=tmp_path / "run")
    with pytest.raises(BadValue, match="the interval must be"):
        profile_command(
            ("true",), tmp_path / "run", environment=os.environ, injected=INJECTED, options=CommandOptions(every=0)
        )
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(NotResumable, match="already"):
        run_command("true", out=tmp_path)


# A single long wait could be entered just after the signal had come, and sleep over it.
WAITING = "import time; print('ready', flush=True)\nwhile True: time.sleep(0.05)"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_stops_the_command_and_the_report_is_written(tmp_path: Path, number: int, code: int) -> None:
    words = [sys.executable, "-m", "clearsight", "profile", "--out", str(tmp_path / "run"), "--json", "--"]
    words += [sys.executable, "-c", WAITING]
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            process.send_signal(number)
            out, err = process.communicate(timeout=60)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == code, err
    assert set(json.loads(out)) == {"steps", "phases", "gauges", "findings"}
    assert "report   " in err
    assert "interrupted" in (tmp_path / "run" / "report.html").read_text()
