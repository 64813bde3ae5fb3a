"""What the code before the redesign left on disk still opens, goes on, serves and reports.

tests/fixtures/before_redesign/make.py says how it was made and which paths stand in it.
"""

from __future__ import annotations

import json
import subprocess
import tarfile
import urllib.request
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

import clearsight
from clearsight.cli import main
from tests.walks.commands import CLEARSIGHT

FIXTURES = Path(__file__).parents[1] / "fixtures" / "before_redesign"
MADE_IN = "/tmp/before_redesign"  # where everything lay when it was made
WITH_PATHS = ("run.json", "study.json", "recipe.yaml", "best.yaml")  # files in which a path decides what is opened
TIMES = ("seconds", "images_per_second", "data_share")  # what no two trainings have in common


def unpack(name: str, place: Path) -> None:
    """Unpack a fixture, and the data that it needs, into `place` as if everything had been made there."""
    for archive in ("data.tar.gz", name):
        with tarfile.open(FIXTURES / archive) as packed:
            packed.extractall(place, filter="data")
    for kind in WITH_PATHS:
        for file in place.rglob(kind):
            text = file.read_text(encoding="utf-8")
            file.write_text(text.replace(f"{MADE_IN}/", f"{place}/"), encoding="utf-8")


def kept(name: str) -> Any:
    """A JSON file among the fixtures."""
    return json.loads((FIXTURES / name).read_text(encoding="utf-8"))


Answer = Callable[..., Any]


@pytest.fixture
def answer(capsys: pytest.CaptureFixture[str]) -> Answer:
    """Runs `clearsight WORDS --json` here, which must end well, and returns the JSON that it prints."""

    def ask(*words: object) -> Any:
        capsys.readouterr()
        code = main([*map(str, words), "--json"])
        said = capsys.readouterr()
        assert code == 0, said.err
        return json.loads(said.out)

    return ask


# --- a run that ended, and its bundle ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder, beside the data it was trained on. For tests that leave it as it is."""
    place = tmp_path_factory.mktemp("finished")
    unpack("finished-run/run.tar.gz", place)
    return place / "finished"


def pictures(run_folder: Path) -> Path:
    return run_folder.parent / "digits" / "test"


def chances(rows: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """{picture: {class: probability}} of what `clearsight predict --json` says."""
    return {Path(row["path"]).name: {one["label"]: one["probability"] for one in row["top"]} for row in rows}


def assert_same_answers(rows: Iterable[Mapping[str, Any]]) -> None:
    told, wanted = chances(rows), chances(kept("finished-run/predictions.json"))
    assert told.keys() == wanted.keys()
    for picture, row in wanted.items():
        assert told[picture] == pytest.approx(row, abs=1e-5), picture


def verdicts(findings: Iterable[Mapping[str, Any]]) -> list[tuple[Any, ...]]:
    return [tuple(one[of] for of in ("rule", "verdict", "severity", "subject", "fix")) for one in findings]


def test_the_run_opens(finished: Path) -> None:
    opened = clearsight.Run.open(finished)
    assert (opened.status.value, opened.recipe.optim.lr, opened.recipe.model.head) == ("completed", 0.01, (16,))
    assert opened.scores["test"]["accuracy"] == kept("finished-run/evaluation.json")["accuracy"]
    assert [row["epoch"] for row in opened.epochs()] == list(range(1, 9))
    assert opened.has_bundle


def test_what_was_saved_of_the_run_can_be_asked(finished: Path) -> None:
    saved = clearsight.open_run(finished)
    assert saved.ended
    losses = {line["step"]: line["value"] for line in clearsight.Run.open(finished).metrics() if line["name"] == "loss"}
    assert {step: saved.tensor("loss").value(step) for step in losses} == losses
    assert len(losses) == 40
    assert "gradient/fc.hidden1.weight" in saved.tensor_names(collection="gradients")
    assert len(saved.profile().steps()) == 40
    assert saved.profile().trace is not None
    wanted = kept("finished-run/findings.json")["findings"]
    assert sorted((one.rule, one.verdict.value) for one in saved.findings()) == sorted(
        (one["rule"], one["verdict"]) for one in wanted
    )


def test_the_rules_say_the_same_again(finished: Path, answer: Answer) -> None:
    told, wanted = answer("debug", finished), kept("finished-run/findings.json")
    rules = {finding["rule"] for finding in wanted["findings"]} - {"HeadNotLearning"}  # NotLearning took its place
    before, now = ([f for f in side["findings"] if f["rule"] in rules] for side in (wanted, told))
    assert sorted(verdicts(now), key=str) == sorted(verdicts(before), key=str)
    assert {f["rule"]: f["value"] for f in now} == pytest.approx({f["rule"]: f["value"] for f in before})
    assert {f["rule"] for f in told["findings"] if f["verdict"] == "found"} <= rules
    assert told["points"] == wanted["points"]


def test_predict_gives_the_same_probabilities(finished: Path, answer: Answer) -> None:
    assert_same_answers(answer("predict", finished, pictures(finished)))


@pytest.mark.parametrize("which", ["folder", "packed"])
def test_the_bundle_alone_gives_them_too(finished: Path, which: str) -> None:
    bundle = finished / "model" if which == "folder" else FIXTURES / "finished-run" / "packed.tar.gz"
    assert_same_answers(one.to_json() for one in clearsight.predict(bundle, pictures(finished)))


def test_the_bundle_loads_as_a_network(finished: Path) -> None:
    import torch

    assert clearsight.Bundle.open(finished / "model").classes == ("3", "7", "8")
    with torch.no_grad():
        assert clearsight.load(finished).model(torch.zeros(2, 3, 16, 16)).shape == (2, 3)


def test_evaluate_measures_the_same(finished: Path, answer: Answer) -> None:
    told, wanted = answer("evaluate", finished, finished.parent / "digits"), kept("finished-run/evaluation.json")
    assert told["confusion"] == wanted["confusion"]
    for score in ("accuracy", "macro_f1", "loss", "ece", "temperature"):
        assert told[score] == pytest.approx(wanted[score], abs=1e-5), score


def test_the_endpoint_answers_the_same(finished: Path) -> None:
    rows = []
    start = [*CLEARSIGHT, "serve", str(finished), "--port", "0"]
    with subprocess.Popen(start, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        try:
            assert server.stdout is not None
            url = next(word for word in server.stdout.readline().split() if word.startswith("http://"))
            for picture in sorted(pictures(finished).rglob("*.png")):
                request = urllib.request.Request(
                    f"{url}/invocations", data=picture.read_bytes(), headers={"Content-Type": "image/png"}
                )
                with urllib.request.urlopen(request, timeout=30) as response:
                    rows.append({"path": picture.name, **json.load(response)})
        finally:
            server.terminate()
            server.stdout.read()
    assert_same_answers(rows)


def test_the_report_is_written_again(finished: Path, answer: Answer) -> None:
    page, figures = finished / "report.html", finished / "report.json"
    before = json.loads(figures.read_text(encoding="utf-8"))
    assert not page.exists()
    assert answer("report", finished)["page"] == str(page)
    assert "NormalisationMismatch" in page.read_text(encoding="utf-8")
    after = json.loads(figures.read_text(encoding="utf-8"))
    assert verdicts(after["findings"]) == verdicts(before["findings"])
    assert after["sections"].keys() >= before["sections"].keys()


# --- a run that was interrupted ---------------------------------------------------------------------------------------


def numbers(lines: Iterable[Mapping[str, Any]]) -> dict[tuple[int, str, str], float]:
    """{(step, mode, name): value} of lines of metrics.jsonl, without times and what is measured at other steps now."""
    return {
        (line["step"], line["mode"], line["name"]): line["value"]
        for line in lines
        if not line["name"].endswith((*TIMES, "_mode_loss", "clip_ratio"))
    }


def test_an_interrupted_run_goes_on_as_if_nothing_had_been(tmp_path: Path, answer: Answer) -> None:
    unpack("interrupted-run/run.tar.gz", tmp_path)
    out = tmp_path / "interrupted"
    before = clearsight.Run.open(out)
    assert (before.status.value, before.reason) == ("interrupted", "stopped by SIGINT")
    assert 16 < before.metrics()[-1]["step"] < 24, "it was interrupted within an epoch"

    assert answer("train", "--resume", out)["status"] == "completed"

    lines = (FIXTURES / "interrupted-run" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    wanted, told = numbers(map(json.loads, lines)), numbers(clearsight.Run.open(out).metrics())
    assert sum(name == "loss" for _, _, name in wanted) == 48
    assert told.keys() == wanted.keys()
    assert told == pytest.approx(wanted, rel=1e-5)


# --- studies ----------------------------------------------------------------------------------------------------------


def assert_same_trials(told: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """The same points, the same ends, the same values, the same best."""
    for of in ("number", "state", "epochs", "same_as"):
        assert [trial[of] for trial in told["trials"]] == [trial[of] for trial in wanted["trials"]], of
    for mine, theirs in zip(told["trials"], wanted["trials"], strict=True):
        assert mine["params"] == pytest.approx(theirs["params"], rel=1e-9), mine["number"]
        assert mine["values"] == pytest.approx(theirs["values"], rel=1e-5), mine["number"]
    assert told["best"]["trial"] == wanted["best"]["trial"]
    assert told["best"]["test"] == pytest.approx(wanted["best"]["test"], rel=1e-5)


def test_an_interrupted_study_goes_on_as_if_nothing_had_been(tmp_path: Path, answer: Answer) -> None:
    unpack("study/interrupted.tar.gz", tmp_path)
    out = tmp_path / "study"
    states = [trial.state.value for trial in clearsight.open_study(out).trials]
    assert states == ["complete", "complete", "running"]

    told = answer("tune", "--resume", out)

    assert told["status"] == "completed"
    assert_same_trials(told, kept("study/undisturbed.json"))
    best = clearsight.open_study(out).best_run
    assert best is not None
    assert best.has_bundle


def test_a_finished_study_is_reported_and_asked_for_more(tmp_path: Path, answer: Answer) -> None:
    """Heads that were trained together; the points of two more follow from what the first twelve came to."""
    unpack("frozen-study/finished.tar.gz", tmp_path)
    out, wanted = tmp_path / "frozen-study", kept("frozen-study/two_more.json")
    found = clearsight.open_study(out)
    assert [trial.params for trial in found.trials] == [trial["params"] for trial in wanted["trials"][:12]]

    page = out / "report.html"
    assert not page.exists()
    assert answer("report", out)["page"] == str(page)
    assert page.is_file()
    figures = json.loads((out / "report.json").read_text(encoding="utf-8"))
    assert [trial["number"] for trial in figures["trials"]] == list(range(12))

    told = answer("tune", "--resume", out, "--trials", 14)
    assert told["status"] == "completed"
    assert_same_trials(told, wanted)
