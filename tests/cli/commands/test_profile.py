"""clearsight profile: what a person types and what is answered."""

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
from clearsight.cli.commands.profile import breakdown_lines, tried_lines
from clearsight.core.finding import Finding, Severity, Verdict
from clearsight.core.profile import GaugeSample, Machine, Profile, StepTimes
from clearsight.core.profile_folder import gauge_line, gauges_file, span_line, spans_file, write_machine
from clearsight.training.throughput import ThroughputSample
from clearsight.workflow.profile import Breakdown
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


def test_the_time_of_a_run_in_words(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["profile", str(run)]) == 0
    out = capsys.readouterr().out
    assert out.startswith("steps    30, half of them within 1000.0 ms, 95 % within 1000.0 ms; 8 images/s\n")
    assert ["data", "750.0", "750.0", "750.0", "75.0", "%"] in [line.split() for line in out.splitlines()]
    assert "rules    " in out.splitlines()[-1]


def test_the_time_of_a_run_as_json(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["profile", str(run), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert set(told) == {"steps", "phases", "gauges", "findings"}
    assert told["phases"]["data"] == {"mean": 0.75, "p50": 0.75, "p95": 0.75, "share": 0.75}
    assert "DataWait" in {finding["rule"] for finding in told["findings"]}


def test_single_cores_are_left_to_the_json_and_bytes_are_said_in_megabytes() -> None:
    lines = breakdown_lines(Breakdown(profile=Profile(None, GAUGES, STEPS), findings=[WAITS]))
    assert not any(line.startswith("cpu0") for line in lines)
    assert any(line.startswith("memory.available  2,000.0 MB") for line in lines)
    assert "warning  DataWait: training waits for images" in lines
    assert "fix      --workers 2" in lines


def test_gauges_alone_are_said() -> None:
    assert breakdown_lines(Breakdown(profile=Profile(), findings=[]))[0] == "steps    none were seen: gauges alone"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What was asked of a command; it ends with exit code 5."""
    got: dict[str, Any] = {}

    def profile_command(command: list[str], out: Path | None, *, begun: Callable[[Path], None], **more: Any) -> Any:
        got.update(command=command, out=out, **more)
        begun(Path("runs/x-1"))
        breakdown = Breakdown(profile=Profile(), findings=[])
        return types.SimpleNamespace(code=5, folder=Path("runs/x-1"), breakdown=breakdown, failure="no luck")

    module = types.ModuleType("clearsight.workflow.speed.command")
    module.profile_command = profile_command  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "clearsight.workflow.speed.command", module)
    return got


def test_words_after_the_dashes_are_the_commands_own(asked: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
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
    assert asked["command"] == ["python", "t.py", "--every", "9", "--", "--json"]
    assert (asked["out"], asked["every"], asked["full"]) == (Path("here"), 0.2, True)
    assert asked["environment"]["PATH"] == os.environ["PATH"]
    assert (asked["injected"] / "sitecustomize.py").is_file()
    captured = capsys.readouterr()
    assert captured.out == ""
    assert (
        captured.err.splitlines()[0] == "profile  runs/x-1: the machine every 0.2 s, and the steps of a training loop"
    )
    assert captured.err.splitlines()[-2:] == ["failure  no luck", f"report   {Path('runs/x-1/report.html')}"]


def test_what_we_set_for_ourselves_is_not_the_commands(tmp_path: Path) -> None:
    code = "import os; print(*(os.environ.get(name) for name in ('OMP_WAIT_POLICY', 'TORCH_CPP_LOG_LEVEL')))"
    words = [sys.executable, "-m", "clearsight", "profile", "--out", str(tmp_path / "run"), "--"]
    kept = {name: value for name, value in os.environ.items() if name not in ("OMP_WAIT_POLICY", "TORCH_CPP_LOG_LEVEL")}
    environment = {**kept, "OMP_WAIT_POLICY": "active"}
    done = subprocess.run([*words, sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.stdout == "active None\n", done.stderr


def test_the_json_of_a_command_follows_its_output(asked: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["profile", "--json", "--", "x"]) == 5
    assert set(json.loads(capsys.readouterr().out)) == {"steps", "phases", "gauges", "findings"}


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "neither a run folder nor a command"),
        (["--"], "there is no command"),
        (["runs/first", "--", "python"], "Name one of the two."),
        (["nowhere"], "no run in this folder"),
        (["--every", "0", "--", "true"], "looks are 0.1 to 60 s apart"),
        (["--out", "x", "--", "no-such-program-anywhere"], "no such program"),
    ],
)
def test_mistakes_end_as_a_sentence(words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["profile", *words]) == 2
    assert sentence in capsys.readouterr().err


def tried(*rates: tuple[dict[str, Any], float]) -> TriedSettings:
    """Settings with their images per second, in two equal blocks each."""
    rows = [Candidate(settings=one, blocks=[ThroughputSample(4, 100, 100 / rate, 0.1)] * 2) for one, rate in rates]
    return TriedSettings(rows=rows, estimates=[None, 150.0, *[None] * (len(rows) - 2)])


def test_settings_that_were_tried_stand_beside_the_runs_own() -> None:
    lines = tried_lines(tried(({}, 100.0), ({"workers": 4}, 140.0), ({"keep_pixels": False}, 70.0)))
    assert lines[1].split() == ["as", "the", "run", "was", "100.0", "±", "0", "%", "10", "%"]
    assert lines[2].split() == ["--workers", "4", "140.0", "±", "0", "%", "+40", "%", "150.0", "14", "%"]
    assert lines[3].startswith("--no-keep-pixels")
    assert lines[-1] == "next     clearsight train ... --workers 4"


def test_nothing_is_advised_that_noise_explains() -> None:
    slower = tried(({}, 100.0), ({"workers": 4}, 99.0))
    assert "nothing is faster" in tried_lines(slower)[-1]


def test_what_could_not_be_tried_says_why() -> None:
    large = Candidate(settings={"batch_size": 4096}, note="it does not fit into the GPU's memory")
    own = Candidate(settings={}, blocks=[ThroughputSample(4, 100, 1.0, 0.1)])
    lines = tried_lines(TriedSettings(rows=[own, large], estimates=[None, None]))
    assert "does not fit" in lines[2]
    assert "nothing is faster" in lines[-1]


def test_try_takes_a_run_alone(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["profile", str(run), "--try", str(run)]) == 2
    assert "Name the run alone" in capsys.readouterr().err
    assert main(["profile", "--try", str(run)]) == 2
    assert "no run in this folder" in capsys.readouterr().err
