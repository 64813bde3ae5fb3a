"""clearsight tune: words become a study, its answer is JSON, and mistakes cost one sentence."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from clearsight.cli import main
from clearsight.core.study import Study
from tests.workflow.here import working_here

WORDS = (
    *("-m", "tiny", "--weights", "none", "--image-size", "16", "--limit", "60", "--epochs", "1", "-b", "16"),
    *("--search", "random", "--prune", "none"),
)
LR = ("--space", "lr=log(1e-3,1e-1)")


@pytest.fixture(scope="module", autouse=True)
def _here() -> Iterator[None]:
    with working_here():
        yield


@pytest.fixture(scope="module")
def made(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of two trials."""
    out = tmp_path_factory.mktemp("studies") / "first"
    assert main(["tune", str(digits), *WORDS, *LR, "--trials", "2", "--out", str(out)]) == 0
    return out


@pytest.fixture
def complaint(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    def said(*words: object) -> str:
        assert main(["tune", *map(str, words)]) == 2
        told = capsys.readouterr()
        assert told.out == ""
        (line,) = told.err.splitlines()
        return line.removeprefix("error: ")

    return said


def test_json_alone_on_standard_output_and_events_on_standard_error(
    digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "study"
    assert main(["tune", str(digits), *WORDS, *LR, "--trials", "2", "--out", str(out), "--json"]) == 0
    said = capsys.readouterr()
    found = json.loads(said.out)
    assert {"study", "direction", "metric", "best", "trials", "saved"} <= set(found)
    assert (found["study"], found["direction"], found["metric"]) == (str(out), "maximize", "accuracy")
    assert {"trial", "value", "params", "run"} <= set(found["best"])
    assert {"number", "state", "value", "params", "seconds", "reason"} <= set(found["trials"][0])
    assert {"features_seconds", "pruned_trials"} <= set(found["saved"])
    assert [trial["number"] for trial in found["trials"]] == [0, 1]
    assert found["best"]["value"] == max(trial["value"] for trial in found["trials"])
    events = [json.loads(line) for line in said.err.splitlines()]
    kinds = [event["event"] for event in events]
    assert kinds == ["begin", *["trial", "epoch", "result"] * 2, "end"]
    assert events[-1] == {"event": "end", "status": "completed", "reason": ""}


def test_lines_for_people(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tune", "--resume", str(made), "--trials", "3"]) == 0
    said = capsys.readouterr()
    lines = said.out.splitlines()
    assert lines[0] == f"study    {made}"
    assert "search   random, 3 trials, 2 of them done" in lines
    assert sum(line.startswith("trial ") for line in lines) == 1
    assert any(line.startswith("completed after ") for line in lines)
    assert any(re.match(r"best     trial \d: accuracy 0\.\d{4}  --lr ", line) for line in lines)
    assert any(line.startswith("test     loss ") for line in lines)
    assert f"report   {made / 'report.html'}" in lines
    assert any(line.startswith("next     clearsight train ") for line in lines)
    assert said.err == ""


def test_words_become_the_plan(digits: Path, tmp_path: Path) -> None:
    out = tmp_path / "study"
    words = [*WORDS, "--tune", "batch-size, lr", "--space", "lr=[0.01]", "--trials", "1", "--seed", "5", "--keep", "2"]
    words += ["--metric", "loss", "--target", "100", "--stop-after", "9", "--epoch-budget", "50", "--time-limit", "10m"]
    assert main(["tune", str(digits), *words, "--name", "mine", "--out", str(out)]) == 0
    study = Study.open(out)
    plan = study.plan
    assert plan.space.names == ["batch_size", "lr"]
    assert (plan.trials, plan.seed, plan.keep, plan.searcher, plan.pruner) == (1, 5, 2, "random", "none")
    assert (plan.target, plan.stop_after, plan.epoch_budget, plan.time_limit) == (100.0, 9, 50, 600.0)
    assert [(one.metric, one.direction) for one in plan.objectives] == [("loss", "minimize")]
    assert study.name == "mine"
    assert study.recipe.train.time_limit is None  # the time is the study's
    assert study.command[0] == "clearsight"


def test_a_space_from_a_file_and_a_recipe_from_another(digits: Path, tmp_path: Path) -> None:
    (tmp_path / "space.yaml").write_text("optimizer:\n  sgd: {momentum: 'float(0.5,0.9)'}\n  adamw:\n")
    (tmp_path / "recipe.yaml").write_text("lr: 0.02\n")
    out = tmp_path / "study"
    files = ["--space-file", str(tmp_path / "space.yaml"), "--recipe", str(tmp_path / "recipe.yaml")]
    assert main(["tune", str(digits), *WORDS, *files, "--trials", "1", "--out", str(out)]) == 0
    study = Study.open(out)
    assert study.plan.space.names == ["optimizer", "momentum"]
    assert study.recipe.optim.lr == 0.02


def test_the_first_free_folder(digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["tune", str(digits), *WORDS, *LR, "--trials", "1"]) == 0
    assert Study.is_one(Path("studies/digits-1"))


def test_help_shows_how(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tune", "--help"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "clearsight tune photos/ --freeze backbone --tune lr,batch_size,weight_decay --trials 40" in said
    assert 'clearsight tune photos/ -m resnet18 --space "lr=log(1e-5,1e-1)" --space "epochs=int(5,40)"' in said
    assert '--space "optimizer=[sgd,adamw]" --space "momentum=float(0.5,0.99) when optimizer=sgd"' in said
    assert "clearsight tune --resume studies/photos-1 --trials 80" in said
    for flag in ("--trials", "--parallel", "--metric", "--warm-start", "--storage", "--resume", "--lr", "--json"):
        assert flag in said


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (("--space", "lrr=log(1,2)"), "Did you mean lr?"),
        (("--space", "lr"), "it names no values"),
        (("--tune", "lr,lrr"), "--tune lrr: there is no such setting"),
        ((*LR, "--trials", "2", "--parallel", "3"), "--parallel 3: there are only 2 trials"),
        ((*LR, "--trials", "0"), "--trials 0: it must be 1 or more."),
        ((*LR, "--trials", "few"), "Invalid value for '--trials'"),
        ((*LR, "--metric", "acuracy"), "Did you mean accuracy?"),
        ((*LR, "--search", "tpee"), "Did you mean tpe?"),
        ((*LR, "--prune", "medium"), "Did you mean median?"),
        ((*LR, "--storage", "mysqll://nobody/db"), "mysqll"),
        ((*LR, "--warm-start", "never"), "never: there is no study in this folder"),
        ((*LR, "--time-limit", "soon"), "say a number of seconds, or 90s, 10m, 2h, 1d"),
        ((*LR, "--lr", "fast"), "lr 'fast'"),
        ((*LR, "--metric", "roc_auc"), "it is for two classes, these data have 10"),
        (("--space-file", "none.yaml"), "none.yaml"),
        ((*LR, "--recipe", "none.yaml"), "none.yaml"),
    ],
    ids=lambda value: " ".join(value[-2:]) if isinstance(value, tuple) else "",
)
def test_a_mistake_is_one_sentence_and_leaves_no_folder(
    digits: Path,
    tmp_path: Path,
    complaint: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
    flags: tuple[str, ...],
    sentence: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert sentence in complaint(digits, *WORDS[:4], "--limit", "60", "--epochs", "1", *flags)
    assert list(tmp_path.iterdir()) == []


def test_data_that_are_not_there(
    complaint: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "photos-of-nobody" in complaint("photos-of-nobody", *LR)
    assert complaint() == "DATA: say what to train on. For example: clearsight tune photos/."
    assert list(tmp_path.iterdir()) == []


def test_a_space_said_twice(digits: Path, complaint: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "space.yaml").write_text("lr: log(1e-3,1e-1)\n")
    said = complaint(digits, *LR, "--space-file", tmp_path / "space.yaml")
    assert said == "--space-file: it cannot be said beside --space. Put all of it into the file."


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (("--out", "x"), "--out"),
        (("--recipe", "x.yaml"), "--recipe"),
        (("--tune", "lr"), "--tune"),
        (("--space", "lr=[1]"), "--space"),
        (("--space-file", "x.yaml"), "--space-file"),
        (("--lr", "1"), "--lr"),
        (("--metric", "loss"), "--metric"),
        (("--search", "tpe"), "--search"),
        (("--warm-start", "x"), "--warm-start"),
        (("--storage", "sqlite:///x.db"), "--storage"),
        (("--name", "x"), "--name"),
        (("--image-size", "8", "--tune", "lr"), "--tune, --image-size"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_going_on_takes_nothing_that_would_make_it_another_study(
    made: Path, complaint: Callable[..., str], flags: tuple[str, ...], named: str
) -> None:
    said = complaint("--resume", made, *flags)
    assert f"a study goes on with its own recipe, space and search, so {named} cannot be said" in said
    assert "--trials" in said


def test_going_on_with_data_named_again(made: Path, digits: Path, complaint: Callable[..., str]) -> None:
    assert "so DATA cannot be said" in complaint(digits, "--resume", made)


def test_going_on_with_what_is_none(complaint: Callable[..., str], tmp_path: Path) -> None:
    assert "no study.json" in complaint("--resume", tmp_path)


def test_a_study_that_is_there_is_not_written_over(made: Path, digits: Path, complaint: Callable[..., str]) -> None:
    assert "a study is there already" in complaint(digits, *WORDS, *LR, "--out", made)


def test_every_trial_failing_ends_with_2_and_why(
    digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [*WORDS, *LR, "--freeze", "layer9", "--out", str(tmp_path / "study"), "--json"]
    assert main(["tune", str(digits), *words]) == 2
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert (found["status"], found["best"]) == ("failed", None)
    assert found["reason"].startswith("every trial failed: --freeze layer9: ")


def test_the_report_of_a_study_is_written_again(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = made / "report.html"
    page.unlink()
    assert main(["report", str(made)]) == 0
    said = capsys.readouterr()
    assert said.out == f"{page}\n"
    assert said.err == f"numbers  {made / 'report.json'}\n"
    assert page.is_file()
