"""clearsight profile: the time of a run, of a command, and of other settings, from the command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from clearsight.cli import main
from clearsight.cli.commands.profile import tried_lines
from clearsight.core.finding import Finding, Severity, Verdict
from clearsight.core.profile import GaugeSample, Machine, Profile, StepTimes
from clearsight.core.profile_folder import gauge_line, gauges_file, span_line, spans_file, write_machine
from clearsight.training.throughput import ThroughputSample
from clearsight.workflow.display.text import breakdown_lines
from clearsight.workflow.speed.breakdown import Breakdown
from clearsight.workflow.speed.command import CommandOptions
from clearsight.workflow.speed.throughput import Candidate
from clearsight.workflow.speed.try_settings import TriedSettings

STEPS = [
    StepTimes(step=i + 1, epoch=1, start=100.0 + i, seconds=1.0, samples=8, phases={"data": 0.75, "forward": 0.25})
    for i in range(30)
]
GAUGES = [GaugeSample(time=100.5 + i, values={"cpu": 50.0, "cpu0": 50.0, "memory.available": 2e9}) for i in range(30)]
WAITS = Finding(
    rule="DataWait",
    verdict=Verdict.FOUND,
    severity=Severity.WARNING,
    cause="training waits for images",
    fix={"workers": 2},
    group="DataWait",
)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run folder that was profiled."""
    folder = tmp_path / "run" / "profile"
    folder.mkdir(parents=True)
    write_machine(folder, Machine(cores=2, workers=0, reading="here"))
    gauges_file(folder).write_text("".join(map(gauge_line, GAUGES)))
    spans_file(folder).write_text("".join(map(span_line, STEPS)))
    return tmp_path / "run"


def test_the_time_of_a_run_for_people(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["profile", str(run)]) == 0
    out = capsys.readouterr().out
    assert out.startswith("steps    30, half of them within 1000.0 ms, 95 % within 1000.0 ms; 8.0 images/s\n")
    assert ["data", "750.0", "750.0", "750.0", "75.0", "%"] in [line.split() for line in out.splitlines()]
    assert "rules    " in out.splitlines()[-1]


def test_the_time_of_a_run_as_json(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["profile", str(run), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert set(result) == {"steps", "phases", "gauges", "findings"}
    assert result["phases"]["data"] == {"mean": 0.75, "p50": 0.75, "p95": 0.75, "share": 0.75}
    assert "DataWait" in {finding["rule"] for finding in result["findings"]}


def test_single_cores_are_left_out_and_bytes_are_megabytes() -> None:
    lines = breakdown_lines(Breakdown(profile=Profile(None, GAUGES, STEPS), findings=[WAITS]))
    assert not any(line.startswith("cpu0") for line in lines)
    assert any(line.startswith("memory.available  2,000.0 MB") for line in lines)
    assert "warning  DataWait: training waits for images" in lines
    assert "fix      --workers 2" in lines


def test_a_profile_without_steps_has_a_line_for_them() -> None:
    lines = breakdown_lines(Breakdown(profile=Profile(), findings=[]))
    assert lines[0] == "steps    none were measured, only the machine"


@pytest.fixture
def arguments(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Arguments of the verb `profile_command`, which returns exit code 5."""
    received: dict[str, Any] = {}

    def profile_command(command: list[str], out: Path | None, *, on_start: Callable[[Path], None], **more: Any) -> Any:
        received.update(command=command, out=out, **more)
        on_start(Path("runs/x-1"))
        breakdown = Breakdown(profile=Profile(), findings=[])
        return types.SimpleNamespace(code=5, folder=Path("runs/x-1"), breakdown=breakdown, failure="no luck")

    module = types.ModuleType("clearsight.workflow.speed.command")
    module.profile_command = profile_command  # type: ignore[attr-defined]
    module.CommandOptions = CommandOptions  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "clearsight.workflow.speed.command", module)
    return received


def test_words_after_dashes_are_the_command(arguments: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    words = [
        "profile",
        "--every",
        "0.2",
        "--full",
        "--out",
        "here",
        "--",
        "python",
        "t.py",
        "--every",
        "9",
        "--",
        "--json",
    ]
    assert main(words) == 5
    assert arguments["command"] == ["python", "t.py", "--every", "9", "--", "--json"]
    assert (arguments["out"], arguments["options"]) == (Path("here"), CommandOptions(every=0.2, full=True))
    assert arguments["environment"]["PATH"] == os.environ["PATH"]
    assert (arguments["injected"] / "sitecustomize.py").is_file()
    captured = capsys.readouterr()
    assert captured.out == ""
    lines = captured.err.splitlines()
    assert lines[0] == "profile  runs/x-1: samples every 0.2 s, and the steps of a training loop"
    assert lines[-2:] == ["failure  no luck", f"report   {Path('runs/x-1/report.html')}"]


def test_a_command_does_not_get_the_variables_of_the_cli(tmp_path: Path) -> None:
    code = "import os; print(*(os.environ.get(name) for name in ('OMP_WAIT_POLICY', 'TORCH_CPP_LOG_LEVEL')))"
    words = [sys.executable, "-m", "clearsight", "profile", "--out", str(tmp_path / "run"), "--"]
    unset = {
        name: value for name, value in os.environ.items() if name not in ("OMP_WAIT_POLICY", "TORCH_CPP_LOG_LEVEL")
    }
    environment = {**unset, "OMP_WAIT_POLICY": "active"}
    done = subprocess.run([*words, sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.stdout == "active None\n", done.stderr


def test_json_follows_the_output_of_a_command(arguments: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["profile", "--json", "--", "x"]) == 5
    assert set(json.loads(capsys.readouterr().out)) == {"steps", "phases", "gauges", "findings"}


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "neither a run folder nor a command"),
        (["--"], "there is no command"),
        (["runs/first", "--", "python"], "a run folder and a command cannot be used together. Remove one of the two."),
        (["nowhere"], "no run in this folder"),
        (["--every", "0", "--", "true"], "the interval must be 0.1 to 60 s"),
        (["--out", "x", "--", "no-such-program-anywhere"], "no such program"),
    ],
)
def test_mistakes_end_as_a_sentence(words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["profile", *words]) == 2
    assert sentence in capsys.readouterr().err


def tried(*rates: tuple[dict[str, Any], float]) -> TriedSettings:
    """Return settings with their images per second, in two equal blocks each."""
    rows = [
        Candidate(settings=settings, blocks=[ThroughputSample(4, 100, 100 / rate, 0.1)] * 2) for settings, rate in rates
    ]
    return TriedSettings(rows=rows, estimates=[None, 150.0, *[None] * (len(rows) - 2)])


def test_tried_settings_follow_those_of_the_run() -> None:
    lines = tried_lines(tried(({}, 100.0), ({"workers": 4}, 140.0), ({"keep_pixels": False}, 70.0)))
    assert lines[1].split() == ["as", "the", "run", "was", "100", "±", "0", "%", "10", "%"]
    assert lines[2].split() == ["--workers", "4", "140", "±", "0", "%", "+40", "%", "150", "14", "%"]
    assert lines[3].startswith("--no-keep-pixels")
    assert lines[-1] == "next     clearsight train ... --workers 4"


def test_a_gain_within_the_noise_is_not_advised() -> None:
    slower = tried(({}, 100.0), ({"workers": 4}, 99.0))
    assert "nothing is faster" in tried_lines(slower)[-1]


def test_a_setting_that_could_not_be_tried_has_a_note() -> None:
    large = Candidate(settings={"batch_size": 4096}, note="it does not fit into the GPU's memory")
    base = Candidate(settings={}, blocks=[ThroughputSample(4, 100, 1.0, 0.1)])
    lines = tried_lines(TriedSettings(rows=[base, large], estimates=[None, None]))
    assert "does not fit" in lines[2]
    assert "nothing is faster" in lines[-1]


def test_try_takes_a_run_alone(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["profile", str(run), "--try", str(run)]) == 2
    assert "it takes no other run and no command. Name the run only once, after --try." in capsys.readouterr().err
    assert main(["profile", "--try", str(run)]) == 2
    assert "no run in this folder" in capsys.readouterr().err
