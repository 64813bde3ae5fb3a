"""tune and resume_study: a study from a folder of images to the model of its best trial.

Whatever the StudyRunner decides is tested in memory (tests/tuning/test_runner.py, test_stopping.py); processes that die
are in tests/walks/test_study_survives.py. Here one study trains whole runs; most others end before their first trial.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import clearsight
from clearsight.api import inspection, training
from clearsight.core.errors import (
    BadBundle,
    BadChoice,
    BadValue,
    ClearsightError,
    NotFound,
    NotResumable,
    WeightsUnavailable,
)
from clearsight.core.recipe import Recipe
from clearsight.core.run import Run
from clearsight.core.study import Study, StudyStatus
from clearsight.core.trial import Trial, TrialState
from clearsight.tuning.trial_store import read_trials
from clearsight.workflow.open import open_study
from clearsight.workflow.tune import resume_study, tune
from tests.workflow.in_process import EventLog, in_process, study_context, tune_here

LR = ["lr=log(1e-4,1e-1)"]
UNTRAINED = {"time_limit": 1e-6}  # ends a study before its first trial


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def complete(study: Study) -> list[Trial]:
    return [trial for trial in read_trials(study) if trial.state is TrialState.COMPLETE]


@pytest.fixture(scope="module")
def log() -> EventLog:
    return EventLog()


@pytest.fixture(scope="module")
def study(digits: Path, tmp_path_factory: pytest.TempPathFactory, log: EventLog) -> Study:
    """A study of three whole runs. Tests leave it as it is."""
    folder = tmp_path_factory.mktemp("tune")
    launch = study_context(folder, log, command=["clearsight"])
    return tune_here(digits, folder / "study", space=LR, trials=3, launch=launch)


# --- results ----------------------------------------------------------------------------------------------------------


def test_the_study_says_which_trials_its_validation_images_cannot_tell_apart(study: Study) -> None:
    ties = Study.open(study.path).best["ties"]
    run = open_study(study.path).best_run
    assert run is not None
    assert ties["images"] == sum(run.data["counts"]["valid"].values())
    values = sorted((trial.values[0] for trial in complete(study)), reverse=True)
    assert ties["low"] < values[0] <= ties["high"]
    assert ties["within"] == sum(value >= ties["low"] for value in values[1:])


def test_failures_after_the_last_trial_leave_a_completed_study(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The best trial's model gets no ONNX file, and the report cannot be written."""

    def refuse(*_: object) -> None:
        raise BadBundle("planted", "it fails")

    monkeypatch.setattr("clearsight.workflow.run.delivery.add_onnx", refuse)
    monkeypatch.setattr("clearsight.workflow.study.lead.write_study_report", refuse)
    log = EventLog()
    shutil.copytree(study.path, tmp_path / "study")
    shutil.rmtree(tmp_path / "study" / "trials" / f"{study.best['trial']:04d}" / "run" / "model")
    launch = study_context(tmp_path, log)
    with in_process():
        ended = resume_study(tmp_path / "study", launch=launch)
    assert ended.status is StudyStatus.COMPLETED
    assert [step["step"] for step in Study.open(ended.path).failed_steps] == ["onnx", "report"]
    texts = [event[1] for event in log.events if event[0] == "trouble"]
    assert texts[0].startswith("onnx failed: planted: it fails. Repeat it with: clearsight train --resume ")
    assert texts[1] == f"report failed: planted: it fails. Repeat it with: clearsight report {ended.path}"
    assert log.events[-1] == ("end", "completed")


def test_the_folder_has_all_files(study: Study) -> None:
    there = files(study.path)
    assert {"study.json", "recipe.yaml", "best.yaml", "report.html", "report.json", "study.db"} <= there
    for number in range(3):
        assert {f"trials/{number:04d}/{name}" for name in ("trial.json", "outcome.json", "run/run.json")} <= there
    assert (study.status, study.reason) == (StudyStatus.COMPLETED, "")
    assert study.seconds > 0
    assert study.command == ["clearsight"]


def test_only_the_best_trial_has_weights_a_model_and_test_scores(study: Study) -> None:
    for number in range(3):
        trial_files = files(study.folder(number))
        best = number == study.best["trial"]
        assert ("run/model/bundle.json" in trial_files) is best
        assert ("run/evaluation/metrics.json" in trial_files) is best
        assert ("run/report.html" in trial_files) is best
        assert any(name.startswith("run/checkpoints/") for name in trial_files) is best
        assert bool(Run.open(study.folder(number) / "run").scores["test"]) is best


def test_the_best_trial_has_the_best_validation_score(study: Study) -> None:
    best = min(complete(study), key=lambda trial: (-trial.values[0], trial.scores["loss"], trial.number))
    assert study.best["trial"] == best.number
    assert study.best["value"] == best.values[0] == best.scores["accuracy"]
    assert study.best["params"] == dict(best.params)
    assert study.best["run"] == str(study.folder(best.number) / "run")
    assert Run.open(Path(study.best["run"])).scores["valid"] == best.scores


def test_best_yaml_is_the_recipe_of_the_best_trial(study: Study) -> None:
    best = Recipe.load(study.path / "best.yaml")
    assert best == study.recipe.replace(**study.best["params"])
    assert best == study.recipe.replace(lr=best.optim.lr)


def test_every_trial_is_a_run_with_its_own_recipe(study: Study) -> None:
    for trial in complete(study):
        run = Run.open(study.folder(trial.number) / "run")
        assert run.recipe.optim.lr == trial.params["lr"]
        assert [epoch["epoch"] for epoch in run.epochs()] == [1, 2]
        assert trial.curve == {epoch["epoch"]: epoch["valid"]["accuracy"] for epoch in run.epochs()}
        assert not run.recipe.profile.auto_tune


def test_observers_receive_all_events_in_order(study: Study, log: EventLog) -> None:
    assert log.earlier == []
    expected: list[tuple[Any, ...]] = [("begin",)]
    for number in range(3):
        expected += [("trial", number), ("epoch", number, 1), ("epoch", number, 2), ("result", number, "complete")]
    assert log.events == [*expected, ("end", "completed")]


def test_the_study_can_be_opened(study: Study) -> None:
    saved = clearsight.open_study(study.path)
    assert saved.best is not None
    assert saved.best.number == study.best["trial"]
    assert saved.best_run is not None
    assert saved.best_run.has_bundle
    assert clearsight.load(study.best["run"]).name == "tiny"


def test_public_names() -> None:
    assert clearsight.tune is training.tune
    assert clearsight.open_study is inspection.open_study


# --- continuation -----------------------------------------------------------------------------------------------------


def test_a_resumed_study_runs_only_the_missing_trials(study: Study, tmp_path: Path) -> None:
    shutil.copytree(study.path, tmp_path / "study")
    results = {number: (tmp_path / f"study/trials/{number:04d}/outcome.json").stat().st_mtime_ns for number in range(3)}
    log = EventLog()
    with in_process():
        longer = resume_study(tmp_path / "study", trials=4, launch=study_context(tmp_path, log))
    assert [trial.number for trial in log.earlier] == [0, 1, 2]
    assert [event[1] for event in log.events if event[0] == "trial"] == [3]
    assert {n: (longer.folder(n) / "outcome.json").stat().st_mtime_ns for n in range(3)} == results
    assert [trial.params for trial in complete(longer)[:3]] == [trial.params for trial in complete(study)]
    assert longer.best["value"] >= study.best["value"]
    assert longer.seconds > study.seconds
    assert Study.open(longer.path).plan.trials == 4


def test_a_complete_study_has_nothing_left_to_do(study: Study) -> None:
    log = EventLog()
    with in_process() as executors:
        again = resume_study(study.path, launch=study_context(study.path.parent, log))
    assert log.events == [("begin",), ("end", "completed")]
    assert executors[0].assignments == []
    assert again.best == study.best


def test_an_ended_study_without_a_trial_has_a_report(digits: Path, tmp_path: Path) -> None:
    study = tune_here(digits, tmp_path / "study", space=LR, trials=3, time_limit=1e-3)
    assert (study.status, study.reason) == (StudyStatus.STOPPED_EARLY, "the time limit of 0.001 s was reached")
    assert study.best == {}
    assert (study.path / "report.html").is_file()


def test_a_mistake_in_every_trial_fails_the_study(digits: Path, tmp_path: Path) -> None:
    study = tune_here(digits, tmp_path / "study", space=LR, trials=9, freeze="layer9")
    assert study.status is StudyStatus.FAILED
    assert study.reason.startswith("every trial failed: --freeze layer9: ")
    assert study.best == {}
    assert len(read_trials(study)) == 3  # no more of them are tried
    assert not (study.path / "best.yaml").exists()
    assert (study.path / "report.html").is_file()


# --- the plan ---------------------------------------------------------------------------------------------------------


def test_a_grid_has_as_many_trials_as_combinations(digits: Path, tmp_path: Path) -> None:
    study = tune_here(digits, tmp_path / "study", space=["lr=[0.01,0.1]"], searcher="grid", **UNTRAINED)
    assert study.plan.trials == 2
    narrower = tune_here(digits, tmp_path / "nine", space=["lr=[0.01]"], searcher="grid", trials=9, **UNTRAINED)
    assert narrower.plan.trials == 1


def test_several_objectives_give_a_front_and_the_first_decides(digits: Path, tmp_path: Path) -> None:
    study = tune_here(
        digits,
        tmp_path / "study",
        space=['head=[16,"16,32"]'],
        searcher="grid",
        metric=["accuracy", "parameters"],
        freeze="backbone",
    )
    saved = open_study(study.path)
    small, large = saved.trials
    assert small.values[1] < large.values[1]
    assert small in saved.front
    assert study.best["value"] == max(small.values[0], large.values[0])
    for trial in saved.front:
        assert (study.folder(trial.number) / "head.safetensors").is_file()


@pytest.mark.parametrize("as_list", [False, True])
def test_earlier_trials_are_imported_before_the_first_trial(
    digits: Path, study: Study, tmp_path: Path, as_list: bool
) -> None:
    earlier: Any = [str(study.path)] if as_list else study.path
    later = tune_here(digits, tmp_path / "later", space=LR, trials=1, warm_start=earlier, **UNTRAINED)
    trials = read_trials(later)
    assert [trial.source for trial in trials] == [str(study.path)] * 3
    assert [trial.params for trial in trials] == [trial.params for trial in complete(study)]
    assert later.best == {}
    assert later.plan.warm_start == (str(study.path),)


def test_the_best_epoch_of_a_trial_is_chosen_by_the_first_objective(digits: Path, tmp_path: Path) -> None:
    study = tune_here(digits, tmp_path / "study", space=LR, metric="loss", vary="batch_size", **UNTRAINED)
    assert study.recipe.train.monitor == "loss"
    assert study.objective.direction == "minimize"
    assert study.plan.space.names == ["batch_size", "lr"]


# --- mistakes are errors before a study begins ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "kind", "sentence"),
    [
        ({"space": ["lrr=log(1,2)"]}, BadChoice, "Did you mean lr?"),
        ({"trials": 2, "parallel": 3}, BadValue, "the study has only 2 trials"),
        ({"storage": "mysqll://nobody/db"}, ClearsightError, "mysqll"),
        ({"data": "nowhere"}, NotFound, "nowhere"),
        ({"warm_start": "never"}, NotFound, "never: there is no study in this folder"),
        ({"lrr": 1.0}, BadChoice, "Did you mean lr?"),
        ({"on": "rya"}, BadChoice, "Did you mean ray?"),
        ({"recipe": "none.yaml"}, NotFound, "none.yaml"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_mistake_leaves_no_file(
    digits: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    settings: dict[str, Any],
    kind: type[Exception],
    sentence: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert sentence in str(error_of(digits, tmp_path, kind, **settings))
    assert list(tmp_path.iterdir()) == [tmp_path / "cache"] or list(tmp_path.iterdir()) == []


def test_a_mistake_leaves_an_existing_folder_as_it_was(
    digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This one is found after the workers have started, and they have a folder for their logs by then."""
    monkeypatch.chdir(tmp_path)
    Path("studies/mine").mkdir(parents=True)
    error = error_of(digits, tmp_path, BadValue, metric="roc_auc")
    assert str(error).startswith("--metric roc_auc: it needs two classes, and this dataset has 10")
    assert [path.as_posix() for path in Path("studies").rglob("*")] == ["studies/mine"]


def error_of(digits: Path, folder: Path, kind: type[Exception], **settings: Any) -> Exception:
    """The error of `tune` into studies/mine, with worker processes."""
    values = {"space": LR, "model": "tiny", "weights": "none", **settings}
    with pytest.raises(kind) as caught:
        tune(values.pop("data", digits), out="studies/mine", launch=study_context(folder), **values)
    return caught.value


def test_notes_about_the_data_reach_the_observers(
    digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clearsight.workflow.tune.data_notes", lambda data: ["1 image was left out."])
    log = EventLog()
    tune_here(digits, tmp_path / "study", space=LR, launch=study_context(tmp_path, log), **UNTRAINED)
    assert log.events[:2] == [("begin",), ("trouble", "1 image was left out.")]


def test_an_existing_study_is_not_overwritten(digits: Path, study: Study) -> None:
    with pytest.raises(NotResumable, match=r"a study is there already\. Continue it with --resume"):
        tune_here(digits, study.path, space=LR)


def test_two_processes_cannot_work_on_one_study(study: Study) -> None:
    with study.lock(), pytest.raises(ClearsightError, match=r"process \d+ on \S+ works on this study"):
        resume_study(study.path)


def test_changes_that_do_not_fit_the_study_are_refused(study: Study, tmp_path: Path) -> None:
    with pytest.raises(BadValue, match="the study has only 3 trials"):
        resume_study(study.path, parallel=4)
    with pytest.raises(NotFound, match="no study"):
        resume_study(tmp_path)
    assert json.loads((study.path / "study.json").read_text())["plan"]["parallel"] == 1


def test_weights_that_are_nowhere_end_a_study_before_its_first_trial(
    digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each trial would fail with the same sentence. Where the model is varied, that is a question of each trial."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    settings = {"model": "timm/resnet18", "weights": "default", "space": LR, "trials": 2}
    with pytest.raises(WeightsUnavailable, match="there is no file for timm/resnet18"):
        tune_here(digits, tmp_path / "study", **settings)
    assert not (tmp_path / "study").exists()
    study = tune_here(digits, tmp_path / "varied", **{**settings, "space": ["model=[timm/resnet18,tiny]"]}, **UNTRAINED)
    assert study.status is not StudyStatus.RUNNING


def test_data_that_were_moved_are_named_when_a_study_continues(digits: Path, tmp_path: Path) -> None:
    data = shutil.copytree(digits, tmp_path / "here")
    study = tune_here(data, tmp_path / "study", trials=1, space=["lr=log(1e-3,1e-1)"])
    data.rename(tmp_path / "there")
    with in_process():
        with pytest.raises(NotFound, match="clearsight tune NEW_PATH --resume"):
            resume_study(study.path, trials=2)
        moved = resume_study(study.path, data=tmp_path / "there", trials=2, launch=study_context(tmp_path))
        assert (moved.plan.data, len(read_trials(moved))) == (str(tmp_path / "there"), 2)
        shutil.rmtree(tmp_path / "there" / "train" / "3")
        shutil.copytree(digits / "test" / "3", tmp_path / "there" / "train" / "3")
        with pytest.raises(NotResumable, match="the data have changed since the study began"):
            resume_study(study.path, trials=3, launch=study_context(tmp_path))


def test_the_last_study_warms_up_another(digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    space = ["lr=log(1e-3,1e-1)"]
    with pytest.raises(NotFound, match="there is no study in the folder studies/"):
        tune_here(digits, tmp_path / "other", trials=1, space=space, warm_start="last")
    earlier = tune_here(digits, tmp_path / "studies" / "a", trials=1, space=space)
    later = tune_here(digits, tmp_path / "other", trials=1, space=space, warm_start="last")
    assert later.plan.warm_start == (str(earlier.path),)
    assert [trial.imported for trial in read_trials(later)] == [True, False]
