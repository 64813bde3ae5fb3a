"""Trial and Tensor: what a recording is asked, on a folder and in S3, while it is written and after."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import uvicorn

from clearsight_sagemaker.s3.app import build_s3_app
from clearsight_sagemaker.s3.store import ObjectStore
from smdebug import modes
from smdebug.core.collection_manager import CollectionManager
from smdebug.core.file_store import FileStore, LocalFiles, open_files
from smdebug.core.step_writer import StepWriter
from smdebug.core.tensor import StepState
from smdebug.exceptions import (
    CorruptFile,
    IndexReaderException,
    InvalidWorker,
    MissingCollectionFiles,
    NoMoreData,
    SMDebugError,
    StepNotYetAvailable,
    StepUnavailable,
    TensorUnavailable,
    TensorUnavailableForStep,
)
from smdebug.rules import Rule, invoke_rule
from smdebug.trials import create_trial, index_reader, trial


def write_step(files: FileStore, step: int, mode: modes, mode_step: int, worker: str = "worker_0") -> None:
    writer = StepWriter(files, step, worker)
    writer.write_tensor("loss", np.array(10.0 - step), mode, mode_step)
    if mode is modes.TRAIN:
        writer.write_tensor("weight", np.arange(4.0) - step, mode, mode_step)
    writer.close()


def write_collections(files: FileStore, workers: int = 1) -> None:
    manager = CollectionManager()
    manager.get("losses").include("^loss$")
    manager.set_num_workers(workers)
    for number in range(workers):
        files.write(f"collections/000000000/worker_{number}_collections.json", manager.to_json().encode())


def record(files: FileStore, *, ended: bool = True) -> None:
    """Write steps 0, 2, 4 of the training and 0, 1 of the evaluation."""
    write_collections(files)
    for step, mode_step in ((0, 0), (2, 2), (4, 4)):
        write_step(files, step, modes.TRAIN, mode_step)
    for step, mode_step in ((5, 0), (6, 1)):
        write_step(files, step, modes.EVAL, mode_step)
    if ended:
        files.write("training_job_end.ts", b"")


@pytest.fixture
def files(tmp_path: Path) -> LocalFiles:
    return LocalFiles(str(tmp_path / "tensors"))


@pytest.fixture
def s3_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    pytest.importorskip("boto3")
    store = ObjectStore(tmp_path / "s3")
    server = uvicorn.Server(uvicorn.Config(build_s3_app(store), port=0, log_level="error"))
    started = threading.Event()
    startup = server.startup

    async def announce(sockets: object = None) -> None:
        await startup(sockets)  # type: ignore[arg-type]
        started.set()

    server.startup = announce  # type: ignore[method-assign]
    thread = threading.Thread(target=server.run)
    thread.start()
    assert started.wait(30)
    port = server.servers[0].sockets[0].getsockname()[1]
    for name, value in {"ACCESS_KEY_ID": "a", "SECRET_ACCESS_KEY": "b", "DEFAULT_REGION": "us-east-1"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join()
    store.close()


def test_steps_are_counted_in_each_mode(files: LocalFiles) -> None:
    record(files)
    found = create_trial(f" {files.root} ")
    assert found.name == "tensors"
    assert [found.steps(mode) for mode in (modes.GLOBAL, modes.TRAIN, modes.EVAL, modes.PREDICT)] == [
        *([0, 2, 4, 5, 6], [0, 2, 4], [0, 1], []),
    ]
    assert set(found.modes()) == {modes.TRAIN, modes.EVAL}
    assert (found.mode(5), found.mode_step(6), found.global_step(modes.EVAL, 1)) == (modes.EVAL, 1, 6)
    assert (found.mode(1), found.global_step(modes.EVAL, 9)) == (None, None)
    assert found.workers() == ["worker_0"]
    assert found.training_ended
    assert found.loaded_all_steps


def test_tensors_are_found_by_step_pattern_and_collection(files: LocalFiles) -> None:
    record(files)
    found = create_trial(files.root)
    assert found.tensor_names() == ["loss", "weight"]
    assert found.tensor_names(mode=modes.EVAL) == ["loss"]
    assert found.tensor_names(step=1, mode=modes.EVAL, regex="l.ss") == ["loss"]
    assert found.tensor_names(collection="losses") == ["loss"]
    assert found.tensor_names(step=3) == []
    with pytest.raises(ValueError, match="cannot be used together"):
        found.tensor_names(regex="a", collection="losses")
    assert "losses" in found.collections()


def test_values_and_reductions(files: LocalFiles) -> None:
    record(files)
    weight = create_trial(files.root, cache=True).tensor("weight")
    assert weight.steps(mode=modes.TRAIN) == [0, 2, 4]
    assert weight.prev_steps(3, 1, mode=modes.TRAIN) == [2]
    assert weight.value(2).tolist() == weight.values(mode=modes.TRAIN)[2].tolist() == [-2, -1, 0, 1]
    assert weight.shape(2) == (4,)
    assert weight.reduction_value(2, "mean", abs=True) == 1
    assert weight.reduction_value(2, "l2") == pytest.approx(6**0.5)
    assert weight.reduction_values(2) == {}
    assert weight.workers(2) == ["worker_0"]


def test_what_is_missing_is_named(files: LocalFiles) -> None:
    record(files)
    found = create_trial(files.root)
    with pytest.raises(TensorUnavailable, match="Tensor bias was not saved"):
        found.tensor("bias")
    weight = found.tensor("weight")
    with pytest.raises(StepUnavailable, match="Step 1 of mode TRAIN"):
        weight.value(1, mode=modes.TRAIN)
    with pytest.raises(TensorUnavailableForStep):
        weight.value(5)
    with pytest.raises(InvalidWorker, match="worker_1"):
        weight.value(2, worker="worker_1")
    with pytest.raises(NoMoreData, match="Max step available is 6"):
        found.wait_for_steps([7])
    with pytest.raises(StepUnavailable):
        found.wait_for_steps([3])


def test_a_running_training_is_read_as_it_goes(files: LocalFiles) -> None:
    record(files, ended=False)
    found = create_trial(files.root)
    assert found.has_passed_step(7) is StepState.NOT_YET_AVAILABLE
    assert found.has_passed_step(3) is StepState.UNAVAILABLE
    with pytest.raises(StepNotYetAvailable):
        found.tensor("loss").value(7)
    write_step(files, 7, modes.TRAIN, 5)
    assert found.has_passed_step(5, modes.TRAIN) is StepState.AVAILABLE
    assert found.tensor("loss").value(5, mode=modes.TRAIN) == 3
    files.write("training_job_end.ts", b"")
    assert found.has_passed_step(8) is StepState.UNAVAILABLE


def test_a_step_is_complete_when_all_workers_have_written_it(files: LocalFiles) -> None:
    write_collections(files, workers=2)
    write_step(files, 0, modes.TRAIN, 0)
    found = create_trial(files.root)
    assert (found.steps(), found.steps(show_incomplete_steps=True)) == ([], [0])
    assert found.has_passed_step(0) is StepState.NOT_YET_AVAILABLE
    write_step(files, 0, modes.TRAIN, 0, "worker_1")
    assert found.steps() == [0]
    assert found.tensor("loss").workers(0) == ["worker_0", "worker_1"]


def test_ranges_and_damage(files: LocalFiles) -> None:
    record(files)
    assert create_trial(files.root, range_steps=(2, 5)).steps() == [2, 4]
    with pytest.raises(SMDebugError, match="begin below end"):
        create_trial(files.root, range_steps=(5, 5))
    found = create_trial(files.root, check=True)
    Path(files.root, "events/000000000002/000000000002_worker_0.tfevents").write_bytes(b"\x01" * 300)
    with pytest.raises(CorruptFile):
        found.tensor("weight").value(2)
    Path(files.root, "events/000000000004/000000000004_worker_0.tfevents").unlink()
    with pytest.raises(TensorUnavailableForStep):
        found.tensor("weight").value(4)
    index = Path(files.root, "index/000000000/000000000006_worker_0.json")
    index.write_text(index.read_text().replace("events/000000000006", "../../elsewhere"))
    with pytest.raises(CorruptFile, match="leads out of"):
        create_trial(files.root).tensor("loss").value(6)
    Path(files.root, "index/000000000/000000000009_worker_0.json").write_text('{"meta": {}}')
    with pytest.raises(IndexReaderException, match="not an index that smdebug writes"):
        create_trial(files.root)


def test_an_ended_training_without_collections_is_refused(files: LocalFiles) -> None:
    files.write("training_job_end.ts", b"")
    with pytest.raises(MissingCollectionFiles, match="All the collection files could not be loaded"):
        create_trial(files.root)


def test_a_trial_waits_for_its_first_file(files: LocalFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    polls = []

    def poll(seconds: float) -> None:
        polls.append(seconds)
        if len(polls) == 2:
            record(files, ended=False)

    monkeypatch.setattr(trial, "time", SimpleNamespace(sleep=poll))
    assert create_trial(files.root).steps() == [0, 2, 4, 5, 6]
    assert polls == [index_reader.POLL_SECONDS] * 2


def test_s3_holds_the_same(s3_address: str) -> None:
    import boto3

    boto3.client("s3").create_bucket(Bucket="jobs")
    path = "s3://jobs/scenes-1/debug-output"
    record(open_files(path))
    found = create_trial(path)
    assert found.steps() == [0, 2, 4, 5, 6]
    assert found.tensor("weight").value(4).tolist() == [-4, -3, -2, -1]
    assert found.tensor_names(collection="losses") == ["loss"]
    with pytest.raises(FileNotFoundError):
        found.files.read("nothing")


class LossIsLow(Rule):
    """Holds where the loss is below a threshold."""

    def __init__(self, base_trial: trial.Trial, threshold: float = 6.5, action_str: str = "") -> None:
        super().__init__(base_trial, action_str)
        self.threshold = threshold
        self.seen: list[int] = []

    def set_required_tensors(self, step: int) -> None:
        self.req_tensors.add(name="^loss$", steps=[step], should_match_regex=True)

    def invoke_at_step(self, step: int) -> bool:
        self.seen.append(step)
        (loss,) = self.req_tensors.get()
        return bool(loss.value(step) < self.threshold)


def test_a_rule_judges_the_saved_steps(files: LocalFiles) -> None:
    from smdebug.exceptions import RuleEvaluationConditionMet

    record(files)
    rule = LossIsLow(create_trial(files.root))
    with pytest.raises(RuleEvaluationConditionMet, match="LossIsLow at step 4") as met:
        invoke_rule(rule, raise_eval_cond=True)
    assert (met.value.step, met.value.end_of_rule) == (4, False)
    assert rule.seen == [0, 2, 4]
    with pytest.raises(NoMoreData):
        invoke_rule(LossIsLow(create_trial(files.root), threshold=0))
    limited = LossIsLow(create_trial(files.root))
    invoke_rule(limited, start_step=1, end_step=5)
    assert limited.seen == [2, 4]
    assert set(rule.report) == {"RuleTriggered", "Violations", "Details", "Datapoints", "RuleParameters"}


def test_actions_are_read_as_the_sdk_writes_them(files: LocalFiles) -> None:
    record(files)
    found = create_trial(files.root)
    escaped = r"[{\"name\": \"stoptraining\", \"training_job_prefix\": \"scenes\"}, {\"name\": \"email\", "
    LossIsLow(found, action_str=escaped + r"\"endpoint\": \"a@b.co\"}]")
    with pytest.raises(SMDebugError, match="action 'restart' is not one of stoptraining, email, sms"):
        LossIsLow(found, action_str='{"name": "restart"}')
    with pytest.raises(SMDebugError, match="action email needs 'endpoint'"):
        LossIsLow(found, action_str='{"name": "email"}')
