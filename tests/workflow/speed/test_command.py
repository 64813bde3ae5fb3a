"""profile_command: any command is looked at, and is what it was."""

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
from clearsight.workflow.speed.command import ProfiledCommand, profile_command

INJECTED = Path(clearsight.cli.__file__).parent / "injected"


def profiled(*command: str, out: Path | None, **environment: str) -> ProfiledCommand:
    return profile_command(command, out, environment={**os.environ, **environment}, injected=INJECTED, every=0.1)


def test_a_command_without_torch_has_gauges_alone(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    code = "import os; sum(range(10**7)); print('hello', os.environ['MINE'], os.environ['PYTHONPATH'])"
    told: list[Path] = []
    environment = {**os.environ, "MINE": "yes", "PYTHONPATH": "/their/own"}
    command = (sys.executable, "-c", code)
    done = profile_command(
        command, tmp_path / "run", environment=environment, injected=INJECTED, every=0.1, begun=told.append
    )
    assert (done.code, done.failure, done.folder, told) == (0, "", tmp_path / "run", [tmp_path / "run"])
    assert capfd.readouterr().out == f"hello yes {INJECTED}:/their/own\n"
    profile = read_profile(tmp_path / "run" / "profile")
    assert "tree.cpu" in profile.gauges()
    assert not profile.timed
    assert (profile.machine.interval, profile.machine.ranks) == (0.1, 1)
    assert (tmp_path / "run" / "report.html").is_file()
    assert (tmp_path / "run" / "findings.jsonl").is_file()


@pytest.mark.parametrize(("code", "wanted"), [("raise SystemExit(7)", 7), ("import os; os.kill(os.getpid(), 9)", 137)])
def test_the_exit_code_is_the_commands_own(tmp_path: Path, code: str, wanted: int) -> None:
    done = profiled(sys.executable, "-c", code, out=tmp_path / "run")
    assert done.code == wanted
    assert done.breakdown.to_json()["steps"]["count"] == 0
    assert "failed" in (tmp_path / "run" / "report.html").read_text()


def test_folders_are_named_after_the_script_and_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my train.py").write_text("")
    assert profiled(sys.executable, "my train.py", out=None).folder == Path("runs/my-train-1")
    assert profiled(sys.executable, "my train.py", out=None).folder == Path("runs/my-train-2")
    assert profiled("true", out=None).folder == Path("runs/true-1")


def test_mistakes_are_told_before_anything_begins(tmp_path: Path) -> None:
    with pytest.raises(EmptyInput, match="there is no command"):
        profiled(out=tmp_path / "run")
    with pytest.raises(NotFound, match="no such program"):
        profiled("no-such-program-anywhere", out=tmp_path / "run")
    with pytest.raises(BadValue, match="looks are"):
        profile_command(("true",), tmp_path / "run", environment=os.environ, injected=INJECTED, every=0)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(NotResumable, match="a run is there already"):
        profiled("true", out=tmp_path)


# A single long wait could be entered just after the signal had come, and sleep over it.
WAITING = "import time; print('ready', flush=True)\nwhile True: time.sleep(0.05)"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_what_stops_us_stops_the_command_and_the_report_is_written(tmp_path: Path, number: int, code: int) -> None:
    words = [sys.executable, "-m", "clearsight", "profile", "--out", str(tmp_path / "run"), "--json", "--"]
    words += [sys.executable, "-c", WAITING]
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as ours:
        try:
            assert ours.stdout is not None
            assert ours.stdout.readline() == "ready\n"
            ours.send_signal(number)
            out, err = ours.communicate(timeout=60)
        finally:
            if ours.poll() is None:
                os.killpg(ours.pid, signal.SIGKILL)
    assert ours.returncode == code, err
    assert set(json.loads(out)) == {"steps", "phases", "gauges", "findings"}
    assert "report   " in err
    assert "interrupted" in (tmp_path / "run" / "report.html").read_text()
