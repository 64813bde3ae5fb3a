"""clearsight tune: flags become a study, the result is lines or JSON, and a mistake is one sentence."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from clearsight.cli import main
from clearsight.cli.commands import tune as tune_command
from clearsight.core.stop import StopKind, StopReason
from clearsight.core.study import Study, StudyStatus
from clearsight.core.trial import TrialState
from clearsight.tuning.trial_store import read_trials
from tests.workflow.in_process import in_process
from tests.workflow.study_folders import trial_result, write_study

WORDS = (
    *("-m", "tiny", "--weights", "none", "--image-size", "16", "--limit", "60", "--epochs", "1", "-b", "16"),
    *("--search", "random", "--prune", "none"),
)
LR = ("--space", "lr=log(1e-3,1e-1)")


@pytest.fixture(scope="module", autouse=True)
def _here() -> Iterator[None]:
    with in_process():
        yield


@pytest.fixture(scope="module")
def finished(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of two trials."""
    out = tmp_path_factory.mktemp("studies") / "first"
    assert main(["tune", str(digits), *WORDS, *LR, "--trials", "2", "--out", str(out)]) == 0
    return out


@pytest.fixture
def error_of(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    def run(*words: object) -> str:
        assert main(["tune", *map(str, words)]) == 2
        captured = capsys.readouterr()
        assert captured.out == ""
        (line,) = captured.err.splitlines()
        return line.removeprefix("error: ")

    return run


def test_json_alone_on_standard_output_and_events_on_standard_error(
    digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "study"
    assert main(["tune", str(digits), *WORDS, *LR, "--trials", "2", "--out", str(out), "--json"]) == 0
    captured = capsys.readouterr()
    result = json.loads(captured.out)
    assert {"study", "direction", "metric", "best", "trials", "saved"} <= set(result)
    assert (result["study"], result["direction"], result["metric"]) == (str(out), "maximize", "accuracy")
    assert {"trial", "value", "params", "run"} <= set(result["best"])
    assert {"number", "state", "value", "params", "seconds", "reason"} <= set(result["trials"][0])
    assert {"features_seconds", "pruned_trials"} <= set(result["saved"])
    assert [trial["number"] for trial in result["trials"]] == [0, 1]
    assert result["best"]["value"] == max(trial["value"] for trial in result["trials"])
    events = [json.loads(line) for line in captured.err.splitlines()]
    kinds = [event["event"] for event in events]
    assert kinds == ["begin", *["trial", "epoch", "result"] * 2, "end"]
    assert events[-1] == {"event": "end", "status": "completed", "reason": ""}


def test_lines_for_people(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tune", "--resume", str(finished), "--trials", "3"]) == 0
    captured = capsys.readouterr()
    lines = captured.out.splitlines()
    assert lines[0] == f"study    {finished}"
    assert "search   random, 3 trials, 2 of them done" in lines
    assert sum(line.startswith("trial ") for line in lines) == 1
    assert any(line.startswith("completed after ") for line in lines)
    assert any(re.match(r"best     trial \d: accuracy 0\.\d{4}  --lr ", line) for line in lines)
    assert any(line.startswith("test     loss ") for line in lines)
    assert f"report   {finished / 'report.html'}" in lines
    assert any(line.startswith("next     clearsight train ") for line in lines)
    assert captured.err == ""


def test_flags_become_the_plan(digits: Path, tmp_path: Path) -> None:
    out = tmp_path / "study"
    words = [*WORDS, "--tune", "batch-size, lr", "--space", "lr=[0.01]", "--trials", "1", "--seed", "5", "--keep", "2"]
    words += ["--metric", "loss", "--target", "100", "--stop-after", "9", "--epoch-budget", "50", "--time-limit", "10m"]
    assert main(["tune", str(digits), *words, "--name", "mine", "--out", str(out)]) == 0
    study = Study.open(out)
    plan = study.plan
    assert plan.space.names == ["batch_size", "lr"]
    assert (plan.trials, plan.seed, plan.keep, plan.searcher, plan.pruner) == (1, 5, 2, "random", "none")
    assert (plan.target, plan.stop_after, plan.epoch_budget, plan.time_limit) == (100.0, 9, 50, 600.0)
    assert [(objective.metric, objective.direction) for objective in plan.objectives] == [("loss", "minimize")]
    assert study.name == "mine"
    assert study.recipe.train.time_limit is None  # it is that of the study
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
    assert Study.exists(Path("studies/digits-1"))


def test_help_has_examples_and_flags(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tune", "--help"]) == 0
    output = " ".join(capsys.readouterr().out.split())
    assert "clearsight tune photos/ --freeze backbone --tune lr,batch_size,weight_decay --trials 40" in output
    assert 'clearsight tune photos/ -m resnet18 --space "lr=log(1e-5,1e-1)" --space "epochs=int(5,40)"' in output
    assert '--space "optimizer=[sgd,adamw]" --space "momentum=float(0.5,0.99) when optimizer=sgd"' in output
    assert "clearsight tune --resume studies/photos-1 --trials 80" in output
    for flag in ("--trials", "--parallel", "--metric", "--resume", "--json"):
        assert flag in output
    assert main(["tune", "--help-all"]) == 0
    everything = capsys.readouterr().out
    for flag in ("--warm-start", "--storage", "--lr"):
        assert flag in everything


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (("--space", "lrr=log(1,2)"), "Did you mean lr?"),
        (("--space", "lr"), "no values"),
        (("--tune", "lr,lrr"), "--tune lrr: no such setting"),
        ((*LR, "--trials", "2", "--parallel", "3"), "--parallel 3: the study has only 2 trials"),
        ((*LR, "--trials", "0"), "--trials 0: must be a whole number, at least 1."),
        ((*LR, "--trials", "few"), "--trials few: must be a whole number, at least 1."),
        ((*LR, "--metric", "acuracy"), "Did you mean accuracy?"),
        ((*LR, "--search", "tpee"), "Did you mean tpe?"),
        ((*LR, "--prune", "medium"), "Did you mean median?"),
        ((*LR, "--storage", "mysqll://nobody/db"), "mysqll"),
        ((*LR, "--warm-start", "never"), "never: there is no study in this folder"),
        (
            (*LR, "--time-limit", "soon"),
            "--time-limit soon: must be a number of seconds, or a time such as 90s",
        ),
        ((*LR, "--lr", "fast"), "lr 'fast'"),
        ((*LR, "--metric", "roc_auc"), "it needs two classes, and this dataset has 10"),
        (("--space-file", "none.yaml"), "none.yaml"),
        ((*LR, "--recipe", "none.yaml"), "none.yaml"),
    ],
    ids=lambda value: " ".join(value[-2:]) if isinstance(value, tuple) else "",
)
def test_a_mistake_is_one_sentence_and_leaves_no_folder(
    digits: Path,
    tmp_path: Path,
    error_of: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
    flags: tuple[str, ...],
    sentence: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert sentence in error_of(digits, *WORDS[:4], "--limit", "60", "--epochs", "1", *flags)
    assert list(tmp_path.iterdir()) == []


def test_missing_data_are_an_error(
    error_of: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "photos-of-nobody" in error_of("photos-of-nobody", *LR)
    assert error_of() == "clearsight tune: no data. For example: clearsight tune photos/."
    assert list(tmp_path.iterdir()) == []


def test_a_space_and_a_space_file_are_an_error(digits: Path, error_of: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "space.yaml").write_text("lr: log(1e-3,1e-1)\n")
    sentence = error_of(digits, *LR, "--space-file", tmp_path / "space.yaml")
    assert sentence == "--space and --space-file: cannot be used together. Keep one."


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
        (("--name", "x"), "--name"),
        (("--image-size", "8", "--tune", "lr"), "--tune, --image-size"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_resume_refuses_what_would_make_another_study(
    finished: Path, error_of: Callable[..., str], flags: tuple[str, ...], named: str
) -> None:
    sentence = error_of("--resume", finished, *flags)
    assert f"a study continues with its own recipe, space and search, so {named} cannot be used with it" in sentence
    assert "--trials" in sentence


def test_resume_with_moved_data_needs_the_data(finished: Path, tmp_path: Path, error_of: Callable[..., str]) -> None:
    assert "the data of this study are not there" in error_of(tmp_path / "nowhere", "--resume", finished)


def test_resume_needs_a_study(error_of: Callable[..., str], tmp_path: Path) -> None:
    assert "no study.json" in error_of("--resume", tmp_path)


def test_an_existing_study_is_not_overwritten(finished: Path, digits: Path, error_of: Callable[..., str]) -> None:
    assert "a study is there already" in error_of(digits, *WORDS, *LR, "--out", finished)


def test_a_study_whose_trials_all_fail_ends_with_code_2(
    digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [*WORDS, *LR, "--freeze", "layer9", "--out", str(tmp_path / "study"), "--json"]
    assert main(["tune", str(digits), *words]) == 2
    result: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert (result["status"], result["best"]) == ("failed", None)
    assert result["reason"].startswith("every trial failed: --freeze layer9: ")


@pytest.mark.parametrize(
    ("kinds", "code"),
    [
        ([StopKind.MISTAKE, StopKind.MISTAKE], 2),
        ([StopKind.MISTAKE, StopKind.FAILURE], 1),
        ([StopKind.FAILURE], 1),  # a worker that was killed
    ],
)
def test_the_exit_code_tells_mistakes_from_other_failures(tmp_path: Path, kinds: list[StopKind], code: int) -> None:
    failed = [replace(trial_result(TrialState.FAILED, reason="why"), stop_kind=kind) for kind in kinds]
    study = write_study(tmp_path / "study", failed)
    study.finish(StudyStatus.FAILED, StopReason(StopKind.ALL_FAILED, "every trial failed: why"))
    assert tune_command._exit_code(study, read_trials(study)) == code


def test_the_report_of_a_study_is_written_again(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = finished / "report.html"
    page.unlink()
    assert main(["report", str(finished)]) == 0
    captured = capsys.readouterr()
    assert captured.out == f"{page}\n"
    assert captured.err == f"numbers  {finished / 'report.json'}\n"
    assert page.is_file()
