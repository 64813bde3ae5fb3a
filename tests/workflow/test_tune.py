"""tune: a study from a folder of images to the model of its best trial, and every way in which one can end."""

from __future__ import annotations

import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

import clearsight
from clearsight.core.errors import BadChoice, BadData, BadValue, ClearsightError, NotFound, NotResumable
from clearsight.core.recipe import Recipe
from clearsight.core.run import Run
from clearsight.core.study import Study, StudyStatus
from clearsight.core.trial import Trial, TrialState
from clearsight.tuning.trial_store import lock_study, read_trials
from clearsight.workflow.open import open_study
from clearsight.workflow.tune import resume_study, tune
from tests.workflow.here import Heard, around, tuned, working_here

LR = ["lr=log(1e-4,1e-1)"]


def files(folder: Path) -> set[str]:
    return {one.relative_to(folder).as_posix() for one in folder.rglob("*") if one.is_file()}


def complete(study: Study) -> list[Trial]:
    return [trial for trial in read_trials(study) if trial.state is TrialState.COMPLETE]


@pytest.fixture(scope="module")
def heard() -> Heard:
    return Heard()


@pytest.fixture(scope="module")
def study(digits: Path, tmp_path_factory: pytest.TempPathFactory, heard: Heard) -> Study:
    """Three whole runs."""
    folder = tmp_path_factory.mktemp("tune")
    return tuned(digits, folder / "study", space=LR, trials=3, around=around(folder, heard, command=["clearsight"]))


# --- what it leaves ---------------------------------------------------------------------------------------------------


def test_the_folder_holds_what_it_promises(study: Study) -> None:
    there = files(study.path)
    assert {"study.json", "recipe.yaml", "best.yaml", "report.html", "report.json", "study.db"} <= there
    for number in range(3):
        assert {f"trials/{number:04d}/{name}" for name in ("trial.json", "outcome.json", "run/run.json")} <= there
    assert (study.status, study.reason) == (StudyStatus.COMPLETED, "")
    assert study.seconds > 0
    assert study.command == ["clearsight"]


def test_only_the_best_has_weights_a_model_and_a_score_on_test_images(study: Study) -> None:
    for number in range(3):
        own = files(study.folder(number))
        best = number == study.best["trial"]
        assert ("run/model/bundle.json" in own) is best
        assert ("run/evaluation/metrics.json" in own) is best
        assert ("run/report.html" in own) is best
        assert any(name.startswith("run/checkpoints/") for name in own) is best
        assert bool(Run.open(study.folder(number) / "run").scores["test"]) is best


def test_the_best_is_the_one_with_the_best_score_on_validation_images(study: Study) -> None:
    trials = complete(study)
    best = max(trials, key=lambda trial: (trial.values[0], -trial.number))
    assert study.best["trial"] == best.number
    assert study.best["value"] == best.values[0] == best.scores["accuracy"]
    assert study.best["params"] == dict(best.params)
    assert study.best["run"] == str(study.folder(best.number) / "run")
    assert Run.open(Path(study.best["run"])).scores["valid"] == best.scores


def test_best_yaml_is_the_recipe_with_the_point(study: Study) -> None:
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


def test_observers_hear_all_of_it_in_order(study: Study, heard: Heard) -> None:
    assert heard.before == []
    wanted: list[tuple[Any, ...]] = [("begin",)]
    for number in range(3):
        wanted += [("trial", number), ("epoch", number, 1), ("epoch", number, 2), ("result", number, "complete")]
    assert heard.events == [*wanted, ("end", "completed")]


def test_the_study_can_be_opened_again(study: Study) -> None:
    found = clearsight.open_study(study.path)
    assert found.best is not None
    assert found.best.number == study.best["trial"]
    assert found.best_run is not None
    assert found.best_run.has_bundle
    assert clearsight.load(study.best["run"]).name == "tiny"


def test_public_names() -> None:
    assert clearsight.tune is tune
    assert clearsight.open_study is open_study


# --- going on ---------------------------------------------------------------------------------------------------------


def test_more_trials_are_only_those_that_are_missing(digits: Path, tmp_path: Path) -> None:
    """And the points are those of a study that was to have so many from the beginning."""
    short = tuned(digits, tmp_path / "short", space=LR, trials=2, epochs=1, limit=60)
    whole = tuned(digits, tmp_path / "whole", space=LR, trials=4, epochs=1, limit=60)
    before = {number: (short.folder(number) / "outcome.json").stat().st_mtime_ns for number in range(2)}
    heard = Heard()
    with working_here():
        longer = resume_study(short.path, trials=4, around=around(tmp_path, heard))
    assert [trial.number for trial in heard.before] == [0, 1]
    assert [event[1] for event in heard.events if event[0] == "trial"] == [2, 3]
    assert {number: (short.folder(number) / "outcome.json").stat().st_mtime_ns for number in range(2)} == before
    assert [trial.params for trial in complete(longer)] == [trial.params for trial in complete(whole)]
    assert [trial.values for trial in complete(longer)] == [trial.values for trial in complete(whole)]
    assert longer.best["trial"] == whole.best["trial"]
    assert longer.seconds > short.seconds


def test_a_study_that_is_complete_has_nothing_left_to_do(study: Study) -> None:
    heard = Heard()
    with working_here() as made:
        again = resume_study(study.path, around=around(study.path.parent, heard))
    assert heard.events == [("begin",), ("end", "completed")]
    assert made[0].given == []
    assert again.best == study.best


def test_ctrl_c_leaves_a_study_that_can_be_gone_on_with(digits: Path, tmp_path: Path) -> None:
    def stop(event: str, trial: Trial) -> None:
        if event == "epoch" and trial.number == 1:
            os.kill(os.getpid(), signal.SIGINT)

    # With a pruner every epoch waits for its answer: the trial cannot be through before it is interrupted.
    told = {"space": LR, "trials": 3, "epochs": 3, "limit": 60, "pruner": "median"}
    stopped = tuned(digits, tmp_path / "study", **told, around=around(tmp_path, Heard(stop)))
    assert (stopped.status, stopped.reason) == (StudyStatus.INTERRUPTED, "stopped by SIGINT")
    assert stopped.best == {}
    assert [trial.state.value for trial in read_trials(stopped)] == ["complete", "running"]
    with working_here():
        done = resume_study(tmp_path / "study", around=around(tmp_path))
    assert done.status is StudyStatus.COMPLETED
    assert [len(Run.open(done.folder(number) / "run").epochs()) for number in range(3)] == [3, 3, 3]
    undisturbed = tuned(digits, tmp_path / "other", **told)
    assert [trial.values for trial in complete(done)] == [trial.values for trial in complete(undisturbed)]


def test_the_time_limit_leaves_trials_that_can_be_gone_on_with(digits: Path, tmp_path: Path) -> None:
    study = tuned(digits, tmp_path / "study", space=LR, trials=3, epochs=1, limit=60, time_limit=1e-3)
    assert (study.status, study.reason) == (StudyStatus.STOPPED_EARLY, "the time limit of 0.001 s was reached")
    assert study.best == {}
    assert (study.path / "report.html").is_file()
    with working_here():
        done = resume_study(study.path, time_limit=None, trials=1, around=around(tmp_path))
    assert done.status is StudyStatus.COMPLETED
    assert len(complete(done)) == 1


def test_the_target_ends_it(digits: Path, tmp_path: Path) -> None:
    study = tuned(digits, tmp_path / "study", space=LR, trials=9, epochs=1, limit=60, target=0.01)
    assert study.status is StudyStatus.STOPPED_EARLY
    assert study.reason.startswith("the target of 0.01 was reached by trial 0")
    assert study.best["trial"] == 0
    assert len(read_trials(study)) == 1


def test_the_budget_of_epochs_ends_it(digits: Path, tmp_path: Path) -> None:
    study = tuned(digits, tmp_path / "study", space=LR, trials=9, epochs=2, limit=60, epoch_budget=3)
    assert study.reason == "the budget of 3 epochs is spent (3 were trained)"
    first, cut = read_trials(study)
    assert first.state is TrialState.COMPLETE
    if cut.state is TrialState.PRUNED:  # it may just have come to its end
        assert cut.reason == f"the study ended first: {study.reason}"


# --- nothing twice ----------------------------------------------------------------------------------------------------


def test_the_same_recipe_is_answered_by_the_first_that_had_it(digits: Path, tmp_path: Path) -> None:
    study = tuned(digits, tmp_path / "study", space=["lr=[0.01]"], trials=3, epochs=1, limit=60)
    first, *others = complete(study)
    assert len(others) == 2
    for other in others:
        assert (other.same_as, other.values, other.seconds, other.epochs) == (0, first.values, 0.0, 0)
        assert not (study.folder(other.number) / "run").exists()
    assert study.best["trial"] == 0
    assert open_study(study.path).to_frame() is not None


def test_a_grid_ends_where_its_points_do(digits: Path, tmp_path: Path) -> None:
    study = tuned(digits, tmp_path / "study", space=["lr=[0.01,0.1]"], searcher="grid", epochs=1, limit=60)
    assert study.plan.trials == 2
    assert [trial.params["lr"] for trial in complete(study)] == [0.01, 0.1]


# --- trials that come to nothing --------------------------------------------------------------------------------------


def test_a_loss_that_is_no_number_is_pruned_with_its_reason(digits: Path, tmp_path: Path) -> None:
    settings = {"optimizer": "sgd", "schedule": "constant", "warmup": 0, "epochs": 3, "momentum": 0.99}
    study = tuned(digits, tmp_path / "study", space=["lr=[0.001,10]"], searcher="grid", **settings)
    good, bad = sorted(read_trials(study), key=lambda trial: trial.number)
    assert (good.state, bad.state) == (TrialState.COMPLETE, TrialState.PRUNED)
    assert bad.reason
    assert "\n" not in bad.reason
    assert study.best["trial"] == good.number


def test_a_mistake_in_every_trial_fails_the_study_with_its_sentence(digits: Path, tmp_path: Path) -> None:
    study = tuned(digits, tmp_path / "study", space=LR, trials=9, freeze="layer9")
    assert study.status is StudyStatus.FAILED
    assert study.reason.startswith("every trial failed: --freeze layer9: ")
    assert study.best == {}
    assert len(read_trials(study)) == 3  # and no more of them are tried
    assert not (study.path / "best.yaml").exists()
    assert (study.path / "report.html").is_file()


def test_a_mistake_in_one_trial_costs_that_trial(digits: Path, tmp_path: Path) -> None:
    study = tuned(
        digits, tmp_path / "study", space=["freeze=[layer9,none]"], searcher="grid", epochs=1, limit=60, trials=2
    )
    bad, good = read_trials(study)
    assert (study.status, bad.state, good.state) == (StudyStatus.COMPLETED, TrialState.FAILED, TrialState.COMPLETE)
    assert "layer9" in bad.reason


# --- several objectives, earlier studies ------------------------------------------------------------------------------


def test_several_objectives_give_a_front_and_the_first_picks_the_best(digits: Path, tmp_path: Path) -> None:
    study = tuned(
        digits,
        tmp_path / "study",
        space=['head=[16,"16,32"]'],
        searcher="grid",
        metric=["accuracy", "parameters"],
        freeze="backbone",
    )
    found = open_study(study.path)
    plain, wide = found.trials
    assert plain.values[1] < wide.values[1]
    assert plain in found.front
    assert study.best["value"] == max(plain.values[0], wide.values[0])
    for trial in found.front:
        assert (study.folder(trial.number) / "head.safetensors").is_file()  # of all of it the weights stay


@pytest.mark.parametrize("one", [True, False])
def test_an_earlier_study_is_learned_from_and_not_counted(
    digits: Path, study: Study, tmp_path: Path, one: bool
) -> None:
    earlier: Any = study.path if one else [str(study.path)]
    later = tuned(digits, tmp_path / "later", space=LR, trials=1, epochs=1, limit=60, warm_start=earlier)
    trials = read_trials(later)
    assert [trial.source for trial in trials] == [str(study.path)] * 3 + [""]
    assert [trial.params for trial in trials[:3]] == [trial.params for trial in complete(study)]
    assert later.best["trial"] == 3
    assert later.plan.warm_start == (str(study.path),)


# --- mistakes are said before anything is begun -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "kind", "sentence"),
    [
        ({"space": ["lrr=log(1,2)"]}, BadChoice, "Did you mean lr?"),
        ({"trials": 2, "parallel": 3}, BadValue, "there are only 2 trials"),
        ({"storage": "mysqll://nobody/db"}, ClearsightError, "mysqll"),
        ({"data": "nowhere"}, NotFound, "nowhere"),
        ({"metric": "roc_auc"}, BadValue, "--metric roc_auc: it is for two classes, these data have 10"),
        ({"warm_start": "never"}, NotFound, "never: there is no study in this folder"),
        ({"lrr": 1.0}, BadChoice, "Did you mean lr?"),
        ({"on": "rya"}, BadChoice, "Did you mean ray?"),
        ({"recipe": "none.yaml"}, NotFound, "none.yaml"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
@pytest.mark.parametrize("there", [False, True])
def test_a_mistake_leaves_no_trace(
    digits: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    settings: dict[str, Any],
    kind: type[Exception],
    sentence: str,
    there: bool,
) -> None:
    monkeypatch.chdir(tmp_path)
    if there:
        Path("studies/mine").mkdir(parents=True)
    said = {"space": LR, "model": "tiny", "weights": "none", **settings}
    with pytest.raises(kind) as caught:
        tune(said.pop("data", digits), out="studies/mine", around=around(tmp_path / "elsewhere"), **said)
    assert sentence in str(caught.value)
    left = [one.relative_to(tmp_path).as_posix() for one in tmp_path.rglob("*") if one.name != "elsewhere"]
    assert [one for one in left if not one.startswith("elsewhere")] == (["studies", "studies/mine"] if there else [])


def test_data_on_which_trials_cannot_be_compared(digits: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    for digit in "34":
        shutil.copytree(digits / "train" / digit, bare / "train" / digit)
    (bare / "valid" / "3").mkdir(parents=True)
    (bare / "valid" / "3" / "bad.png").write_bytes(b"no image")
    with pytest.raises(BadData, match="no validation images to compare trials by"):
        tuned(bare, tmp_path / "study", space=LR, limit=None)
    assert not (tmp_path / "study").exists()


def test_a_image_that_cannot_be_read_is_named_once_and_left_out(digits: Path, tmp_path: Path) -> None:
    odd = tmp_path / "odd"
    shutil.copytree(digits, odd)
    (odd / "train" / "3" / "cut.png").write_bytes(next((odd / "train" / "3").glob("*.png")).read_bytes()[:40])
    heard = Heard()
    found = tuned(odd, tmp_path / "study", space=LR, trials=1, limit=None, around=around(tmp_path, heard))
    assert found.status is StudyStatus.COMPLETED
    (said,) = [event[1] for event in heard.events if event[0] == "trouble"]
    assert "cut.png" in said
    assert said.endswith("left out.")
    with pytest.raises(BadData, match=r"cut\.png .*--on-bad skip"):
        tuned(odd, tmp_path / "strict", space=LR, limit=None, on_bad="fail")


def test_a_folder_that_has_a_study_is_not_written_over(digits: Path, study: Study) -> None:
    with pytest.raises(NotResumable, match=r"a study is there already\. Go on with it by --resume"):
        tuned(digits, study.path, space=LR)


def test_two_processes_do_not_work_on_one_study(study: Study) -> None:
    with lock_study(study), pytest.raises(ClearsightError, match="another process works on this study"):
        resume_study(study.path)


def test_what_does_not_fit_the_study_is_said_when_going_on(study: Study, tmp_path: Path) -> None:
    with pytest.raises(BadValue, match="there are only 3 trials"):
        resume_study(study.path, parallel=4)
    with pytest.raises(NotFound, match="no study"):
        resume_study(tmp_path)
    assert json.loads((study.path / "study.json").read_text())["plan"]["parallel"] == 1


def test_the_epoch_that_counts_is_picked_by_what_the_study_aims_at(digits: Path, tmp_path: Path) -> None:
    study = tuned(digits, tmp_path / "study", space=LR, trials=1, epochs=1, limit=60, metric="loss", vary="batch_size")
    assert study.recipe.train.monitor == "loss"
    assert study.aim.direction == "minimize"
    assert study.plan.space.names == ["batch_size", "lr"]
