"""Leading a study: workers, check of the data, warm start. Whole studies are in tests/workflow/test_tune.py."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from clearsight.core.errors import BadChoice, BadData, BadValue, NotFound, NotResumable
from clearsight.core.executor import ExecutorSpec
from clearsight.core.machine import cores
from clearsight.core.recipe import Recipe
from clearsight.core.study import Study, StudyPlan
from clearsight.core.trial import Objective, Trial, best_trial
from clearsight.tuning.executors.local import LocalExecutor
from clearsight.tuning.space_syntax import parse_space
from clearsight.tuning.storage.optuna_storage import file_url
from clearsight.workflow.paths import Paths
from clearsight.workflow.run.changed_images import write_images
from clearsight.workflow.study.lead import (
    StudyContext,
    build_executor,
    check_data,
    check_same_data,
    check_warm_start,
    data_notes,
    earlier_trials,
    images_file,
    import_earlier_trials,
)
from clearsight.workflow.study.reporter import WorkerResources
from tests.workflow.colour_images import write_class_folders
from tests.workflow.study_folders import BETTER, FAILED, GOOD, PRUNED, begin_study, store_of, write_study

RECIPE = Recipe().replace(model="tiny", weights="none", image_size=16)


def plan(data: Path, metric: str = "accuracy") -> StudyPlan:
    return StudyPlan(
        data=str(data), space=parse_space(["lr=log(1e-4,1e-1)"]), objectives=(Objective(metric, "maximize"),)
    )


@pytest.fixture
def launch(tmp_path: Path) -> StudyContext:
    return StudyContext(paths=Paths(cache=tmp_path / "cache", weights=()))


def test_readable_data_need_no_note(digits: Path, launch: StudyContext) -> None:
    assert data_notes(check_data(plan(digits), RECIPE, launch)) == []


def test_data_without_validation_images_are_refused(digits: Path, tmp_path: Path, launch: StudyContext) -> None:
    data = tmp_path / "data"
    for digit in "34":
        shutil.copytree(digits / "train" / digit, data / "train" / digit)
    (data / "valid" / "3").mkdir(parents=True)
    (data / "valid" / "3" / "bad.png").write_bytes(b"no image")
    with pytest.raises(BadData, match="no validation images to compare trials by"):
        check_data(plan(data), RECIPE, launch)


def test_how_a_table_was_read_is_a_note(digits: Path, launch: StudyContext, tmp_path: Path) -> None:
    lines = ["path,label,fold"]
    for digit in "34":
        images = sorted((digits / "train" / digit).iterdir())[:8]
        lines += [f"{image},{'NaN' if place == 7 else digit},{place}" for place, image in enumerate(images)]
    (tmp_path / "t.csv").write_text("\n".join(lines))
    split, missing = data_notes(check_data(plan(tmp_path / "t.csv"), RECIPE, launch))
    assert split.startswith("column 'fold'")
    assert missing.startswith("labels 'NaN' (2) are read as missing")


def test_data_without_labelled_images_are_refused_with_the_table_beside_them(
    digits: Path, tmp_path: Path, launch: StudyContext
) -> None:
    shutil.copytree(digits / "train" / "3", tmp_path / "flat")
    (tmp_path / "flat" / "labels.csv").write_text("path,label\n")
    with pytest.raises(BadData, match=r"no labelled training images\. Note: .*pass \S*labels\.csv"):
        check_data(plan(tmp_path / "flat"), RECIPE, launch)


def test_roc_auc_needs_two_classes(digits: Path, launch: StudyContext) -> None:
    with pytest.raises(BadValue, match="--metric roc_auc: it needs two classes, and this dataset has 10"):
        check_data(plan(digits, "roc_auc"), RECIPE, launch)


@pytest.mark.parametrize(
    ("valid", "counts"), [({"green": 3}, "3 of 'green' and 0 of 'red'"), ({"red": 2}, "0 of 'green' and 2 of 'red'")]
)
def test_roc_auc_needs_validation_images_of_both_classes(
    tmp_path: Path, launch: StudyContext, valid: dict[str, int], counts: str
) -> None:
    data = tmp_path / "data"
    write_class_folders(data / "train", {"red": 3, "green": 3})
    write_class_folders(data / "valid", valid, size=60)
    with pytest.raises(BadValue, match=f"--metric roc_auc: it needs validation images of both classes.*{counts}"):
        check_data(plan(data, "roc_auc"), RECIPE, launch)
    for metric in ("accuracy", "macro_f1", "loss"):  # defined for whatever classes there are
        assert len(check_data(plan(data, metric), RECIPE, launch).split("valid")) == sum(valid.values())


def test_roc_auc_as_the_second_metric_is_checked_too(digits: Path, launch: StudyContext) -> None:
    both = plan(digits).replace(objectives=(Objective("accuracy", "maximize"), Objective("roc_auc", "maximize")))
    with pytest.raises(BadValue, match="--metric roc_auc"):
        check_data(both, RECIPE, launch)


def test_an_unreadable_image_is_a_note_or_an_error(digits: Path, tmp_path: Path, launch: StudyContext) -> None:
    data = tmp_path / "data"
    shutil.copytree(digits, data)
    (data / "train" / "3" / "cut.png").write_bytes(next((data / "train" / "3").glob("*.png")).read_bytes()[:40])
    (note,) = data_notes(check_data(plan(data), RECIPE, launch))
    assert "cut.png" in note
    assert note.endswith("left out.")
    strict: dict[str, Any] = {"on_bad": "fail"}
    with pytest.raises(BadData, match=r"cut\.png .*--on-bad skip"):
        check_data(plan(data), RECIPE.replace(**strict), launch)


def test_a_study_is_not_continued_on_other_images(digits: Path, tmp_path: Path, launch: StudyContext) -> None:
    data = tmp_path / "data"
    for split in ("train", "valid"):
        for digit in "34":
            shutil.copytree(digits / split / digit, data / split / digit)
    study = Study.begin(tmp_path / "study", plan(data), RECIPE)
    check_same_data(study, check_data(study.plan, RECIPE, launch))  # of an earlier version: it has no list of images
    write_images(images_file(study.path), check_data(study.plan, RECIPE, launch))
    check_same_data(study, check_data(study.plan, RECIPE, launch))
    first, second = sorted((data / "train" / "3").iterdir())[:2]
    shutil.copy2(second, first)
    with pytest.raises(NotResumable, match=r"1 image has another content \(train/3/.*--warm-start"):
        check_same_data(study, check_data(study.plan, RECIPE, launch))


def test_a_context_has_the_paths_of_the_user_by_default() -> None:
    assert StudyContext().paths == Paths.of({})


@pytest.fixture(scope="module")
def earlier(tmp_path_factory: pytest.TempPathFactory) -> Study:
    return write_study(tmp_path_factory.mktemp("studies") / "earlier", [GOOD, BETTER, PRUNED, FAILED], running=1)


def imported(study: Study, times: int = 1) -> list[Trial]:
    store = store_of(study)
    try:
        for _ in range(times):
            import_earlier_trials(study, store)
        return store.trials()
    finally:
        store.close()


def test_complete_and_pruned_trials_are_imported(earlier: Study, tmp_path: Path) -> None:
    later = begin_study(tmp_path / "later", warm_start=(str(earlier.path),))
    trials = imported(later)
    assert [trial.state.value for trial in trials] == ["complete", "complete", "pruned"]
    assert {trial.source for trial in trials} == {str(earlier.path)}
    assert [trial.values for trial in trials] == [(0.7,), (0.9,), ()]
    assert best_trial(trials, later.objective) is None


def test_trials_are_imported_once(earlier: Study, tmp_path: Path) -> None:
    later = begin_study(tmp_path / "later", warm_start=(str(earlier.path),))
    assert len(imported(later, times=2)) == 3
    assert len(imported(later)) == 3  # also when the study is continued


def test_only_trials_inside_the_space_are_imported(earlier: Study, tmp_path: Path) -> None:
    narrow = ["lr=[0.1]", "epochs=[2]", "optimizer=[sgd]", "momentum=[0.5,0.9] when optimizer=sgd"]
    later = begin_study(tmp_path / "later", space=narrow, warm_start=(str(earlier.path),))
    trials = imported(later)
    assert 0 < len(trials) < 3
    assert all(later.plan.space.contains(trial.params) for trial in trials)


def test_a_study_in_a_storage_is_named_by_its_url(earlier: Study, tmp_path: Path) -> None:
    url = file_url(earlier.path / "study.db")
    later = begin_study(tmp_path / "later", warm_start=(f"{url}#earlier", url))
    assert [len(earlier_trials(source, later.plan)) for source in later.plan.warm_start] == [5, 5]
    with pytest.raises(NotFound, match="no such study in this storage; it has earlier"):
        earlier_trials(f"{url}#other", later.plan)


def test_a_missing_study_is_an_error_before_the_study_begins(earlier: Study, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no study in this folder"):
        check_warm_start(earlier.plan.replace(warm_start=(str(tmp_path / "never"),)))
    check_warm_start(earlier.plan.replace(warm_start=(str(earlier.path),)))


def test_a_study_with_other_objectives_is_refused(earlier: Study) -> None:
    other = earlier.plan.replace(objectives=(Objective("loss", "minimize"),), warm_start=(str(earlier.path),))
    with pytest.raises(BadValue) as caught:
        check_warm_start(other)
    assert str(caught.value) == (
        f"--warm-start {earlier.path}: that study optimizes accuracy (maximized). Use the same --metric."
    )


PATHS = Paths(cache=Path("/cache"), weights=())
NETWORK = Recipe().replace(model="tiny", weights="none")
HEAD = NETWORK.replace(freeze="backbone")

BuildSpec = Callable[..., ExecutorSpec]


def sized_plan(**fields: Any) -> StudyPlan:
    space = parse_space(["lr=log(1e-5,1e-1)"])
    return StudyPlan(data="/d", space=space, objectives=(Objective("accuracy", "maximize"),), trials=8, **fields)


@pytest.fixture
def build_spec(monkeypatch: pytest.MonkeyPatch) -> BuildSpec:
    """Returns the spec that the executor of a plan would be built from."""

    def build(plan: StudyPlan, base: Recipe, gpus: int = 0) -> ExecutorSpec:
        specs: list[ExecutorSpec] = []
        monkeypatch.setattr("clearsight.workflow.study.lead.EXECUTORS.load", lambda kind: specs.append)
        build_executor(plan, base, PATHS, Path("/logs"), gpus)
        return specs[0]

    return build


def resources(spec: ExecutorSpec) -> list[WorkerResources]:
    return [WorkerResources.from_json(spec.resources(slot)) for slot in range(spec.slots)]


def test_workers_import_nothing_from_the_folder_in_which_they_start(build_spec: BuildSpec) -> None:
    assert build_spec(sized_plan(), NETWORK).command[1] == "-P"


def test_parallel_workers_share_the_cores(build_spec: BuildSpec) -> None:
    spec = build_spec(sized_plan(parallel=2), NETWORK)
    assert spec.slots == 2
    assert resources(spec) == [WorkerResources(paths=PATHS, threads=max(1, cores() // 2))] * 2
    assert (spec.logs, spec.command[-2:]) == (Path("/logs"), ("-m", "clearsight.workflow.study.worker"))


def test_more_workers_than_cores_have_a_thread_each(build_spec: BuildSpec) -> None:
    assert resources(build_spec(sized_plan(parallel=8), NETWORK))[7].threads == max(1, cores() // 8)


def test_heads_that_train_together_have_one_worker_with_all_cores(build_spec: BuildSpec) -> None:
    spec = build_spec(sized_plan(parallel=4), HEAD)
    assert resources(spec) == [WorkerResources(paths=PATHS, threads=cores())]


def test_workers_take_gpus_in_turns(build_spec: BuildSpec) -> None:
    three, none = build_spec(sized_plan(parallel=3), NETWORK, gpus=2), build_spec(sized_plan(parallel=2), NETWORK)
    assert [worker.device for worker in resources(three)] == ["cuda:0", "cuda:1", "cuda:0"]
    assert [worker.device for worker in resources(none)] == ["auto", "auto"]


def test_a_cluster_has_the_shares_of_the_plan(build_spec: BuildSpec) -> None:
    spec = build_spec(sized_plan(parallel=2, on="ray://host:1", cpus_per_trial=3, gpus_per_trial=0.5), NETWORK, gpus=2)
    assert (spec.address, spec.cpus, spec.gpus) == ("ray://host:1", 3, 0.5)
    assert resources(spec) == [WorkerResources(paths=PATHS, threads=3)] * 2
    assert resources(build_spec(sized_plan(on="ray"), NETWORK)) == [WorkerResources(paths=PATHS, threads=1)]
    assert build_spec(sized_plan(on="ray"), NETWORK).address == ""


def test_the_default_is_worker_processes_of_this_machine(tmp_path: Path) -> None:
    executor = build_executor(sized_plan(parallel=2), NETWORK, PATHS, tmp_path, 0)
    assert isinstance(executor, LocalExecutor)
    assert executor.slots == 2
    assert executor.pids() == {}  # before there is work
    executor.close()


def test_an_unknown_executor_is_refused_with_the_nearest() -> None:
    with pytest.raises(BadChoice, match=r"^--on rya: no such executor. Allowed: local, ray. Did you mean ray\?$"):
        build_executor(sized_plan(on="rya"), NETWORK, PATHS, Path("/logs"), 0)
