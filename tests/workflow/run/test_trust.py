"""A recipe that is read from a file or a folder runs no code by itself: neither rule files nor notices."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from clearsight.cli import main
from clearsight.core.errors import BadValue
from clearsight.core.events import RunStatus
from clearsight.core.recipe import Recipe
from clearsight.core.run import Run
from clearsight.core.trial import Trial, TrialState
from clearsight.tuning.space_syntax import parse_space
from clearsight.workflow.paths import Paths
from clearsight.workflow.run.context import LaunchContext
from clearsight.workflow.run.launch import resume_run
from clearsight.workflow.run.report import rewrite_report
from clearsight.workflow.run.rules import check_recipe_file, code_of_space, code_texts, only_trusted
from clearsight.workflow.speed import try_settings as speeds
from clearsight.workflow.study.lead import StudyContext
from clearsight.workflow.study.tasks import TrialTasks
from clearsight.workflow.train import train
from clearsight.workflow.tune import resume_study, tune
from tests.workflow.run_folders import write_run
from tests.workflow.study_folders import begin_study

RULE = """
from pathlib import Path
from clearsight import Needs, Rule
Path({marker!r}).write_text("ran")
class Mine(Rule):
    def needs(self):
        return Needs(points=1)
    def check(self, view):
        yield self.clear()
"""
TINY: dict[str, Any] = {
    "model": "tiny",
    "weights": "none",
    "limit": 60,
    "batch_size": 16,
    "image_size": 16,
    "epochs": 1,
}


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    """A file that is there once the rule file was run."""
    return tmp_path / "marker"


@pytest.fixture
def rule(tmp_path: Path, marker: Path) -> str:
    path = tmp_path / "mine.py"
    path.write_text(RULE.format(marker=str(marker)))
    return str(path)


@pytest.mark.parametrize(
    ("settings", "code"),
    [
        ({"rule": ["mine.py", "Overfit(patience=3)"]}, {"rule": ["mine.py"]}),
        ({"rule": ["/tmp/x y.py:Mine(a=1)"]}, {"rule": ["/tmp/x y.py:Mine(a=1)"]}),
        ({"rules": "Overfit,mine.py:Mine(a=1)"}, {"rules": ["mine.py:Mine(a=1)"]}),
        (
            {"on_finding": ["notify:touch x", "severe=notify: curl y", "stop"]},
            {"on_finding": ["notify:touch x", "severe=notify: curl y"]},
        ),
        ({"on_finding": ["notify:https://a.example/x=notify"]}, {"on_finding": ["notify:https://a.example/x=notify"]}),
        ({"on_finding": ["notify", "Overfit=stop"], "rules": "all"}, {}),
    ],
)
def test_what_counts_as_code(settings: dict[str, Any], code: dict[str, list[str]]) -> None:
    assert {name: texts for name, texts in code_texts(Recipe.parse(settings).debug).items() if texts} == code


def test_a_recipe_file_is_refused_unless_the_command_names_its_code(rule: str, marker: Path) -> None:
    recipe = Recipe().replace(rule=[rule], on_finding=["notify:touch x"])
    with pytest.raises(BadValue, match=r"r\.yaml: it names .*mine\.py, and a file runs no code by itself\. Name it"):
        check_recipe_file(recipe, "r.yaml", (), ())
    with pytest.raises(BadValue, match=r"it names notify:touch x, and"):
        check_recipe_file(recipe, "r.yaml", ("rule",), ())
    check_recipe_file(recipe, "r.yaml", ("rule", "on_finding"), ())
    check_recipe_file(recipe, "r.yaml", (), None)
    assert not marker.exists()


@pytest.mark.parametrize("command", ["train", "tune"])
def test_the_command_line_refuses_the_recipe_of_somebody_else(
    command: str, digits: Path, rule: str, marker: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "sent.yaml"
    file.write_text(f"model: tiny\nweights: none\nrule: [{rule}]\n")
    assert main([command, str(digits), "--recipe", str(file), "--out", str(tmp_path / "out")]) == 2
    assert "a file runs no code by itself" in capsys.readouterr().err
    assert not marker.exists()
    assert not (tmp_path / "out").exists()


def test_a_space_file_runs_no_code(
    digits: Path, rule: str, marker: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "space.yaml"
    file.write_text(f"rule: [{rule}]\n")
    assert main(["tune", str(digits), "--space-file", str(file), "--model", "tiny", "--weights", "none"]) == 2
    assert "space.yaml: it names" in capsys.readouterr().err
    assert not marker.exists()


def test_saved_recipes_go_on_without_their_code_and_say_so(rule: str, caplog: pytest.LogCaptureFixture) -> None:
    recipe = Recipe().replace(
        rules=f"Overfit,{rule}", rule=[rule], on_finding=["stop", "notify:https://h.example/secret"]
    )
    kept = only_trusted(recipe, (), Path("r/recipe.yaml")).debug
    assert (kept.rules, kept.rule, kept.on_finding) == ("Overfit", (), ("stop",))
    (record,) = caplog.messages
    assert record.startswith(f"not run: {rule}, notify:https://h.example***. r/recipe.yaml names it")
    assert only_trusted(recipe, None) == recipe
    assert only_trusted(recipe, (rule, "notify:https://h.example/secret")) == recipe
    assert only_trusted(recipe.replace(rules=rule), ()).debug.rules == "none"


def test_a_report_runs_no_code_of_the_run(
    rule: str, marker: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = write_run(tmp_path / "run", rule=[rule], rules=f"Overfit,{rule}")
    page = rewrite_report(run).read_text(encoding="utf-8")
    assert not marker.exists()
    assert "mine.py" in page
    assert "not run" in caplog.text


@pytest.mark.parametrize("trusted", [(), None])
def test_a_resumed_run_runs_code_only_if_it_is_trusted(
    trusted: Any, digits: Path, rule: str, marker: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = train(digits, out=tmp_path / "run", rule=[rule], **TINY)
    assert run.status is RunStatus.COMPLETED
    assert marker.exists()  # the caller has named it
    marker.unlink()
    resume_run(run.path, LaunchContext(trusted=trusted))
    assert marker.exists() == (trusted is None)
    assert ("not run" in caplog.text) == (trusted is not None)
    assert Run.open(run.path).recipe.debug.rule == (rule,)  # recipe.yaml stays as it was


def test_trying_faster_settings_runs_no_code(
    digits: Path, rule: str, marker: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = write_run(tmp_path / "run", rule=[rule])
    run.data["path"] = str(digits)
    run.save()
    recipes: list[Recipe] = []

    class Reached(Exception):
        """The set-up would begin now."""

    def make_setup(source: Path, recipe: Recipe, *_: Any) -> None:
        recipes.append(recipe)
        raise Reached

    monkeypatch.setattr(speeds, "make_setup", make_setup)
    with pytest.raises(Reached):
        speeds.try_settings(run.path)
    assert recipes[0].debug.rule == ()
    assert not marker.exists()


def test_the_values_of_a_trial_name_no_code_that_the_study_does_not_have(tmp_path: Path, rule: str) -> None:
    study = begin_study(tmp_path / "s")
    trial = Trial(number=0, state=TrialState.RUNNING, params={"rule": rule, "on_finding": "notify:touch x"})
    debug = TrialTasks(study).recipe(trial).debug
    assert (debug.rule, debug.on_finding) == ((), ())
    assert TrialTasks(study, {rule}).recipe(trial).debug.rule == (rule,)
    assert TrialTasks(study, None).recipe(trial).debug.on_finding == ("notify:touch x",)


def test_a_study_with_code_in_its_space_is_not_continued(tmp_path: Path, rule: str, marker: Path) -> None:
    study = begin_study(tmp_path / "s", space=[f"rule=[{rule}]"])
    assert code_of_space(study.plan.space) == {rule}
    with pytest.raises(BadValue, match=r"study\.json: it names"):
        resume_study(study.path)
    assert not marker.exists()


def test_the_caller_of_tune_may_search_over_own_rules(
    digits: Path, rule: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []
    monkeypatch.setattr("clearsight.workflow.tune.start_workers", lambda *arguments: seen.append(arguments[2]) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        tune(
            digits,
            space=parse_space([f"rule=[{rule}]"]),
            out=tmp_path / "s",
            launch=StudyContext(paths=Paths(cache=tmp_path, weights=())),
            **TINY,
        )
    assert rule in seen[0].trusted


def test_bundle_and_report_have_no_secret_of_the_recipe(tmp_path: Path) -> None:
    recipe = Recipe().replace(on_finding=["severe=notify:https://hooks.example.com/T0/k1"])
    run = write_run(tmp_path / "run", on_finding=list(recipe.debug.on_finding))
    assert run.files.recipe.stat().st_mode & 0o777 == 0o600
    assert Run.open(run.path).recipe.debug.on_finding == recipe.debug.on_finding
    page = rewrite_report(run)
    assert "k1" not in json.dumps(recipe.without_secrets().model_dump(mode="json"))
    assert "hooks.example.com***" in page.read_text(encoding="utf-8")
    assert "/T0/k1" not in page.read_text(encoding="utf-8") + run.files.report_json.read_text()
