"""status and logs of every kind of job, and of endpoints, while the service runs and after its end."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from clearsight_sagemaker.__main__ import main
from clearsight_sagemaker.cli.log_tail import last_lines_of, new_lines_of
from clearsight_sagemaker.cli.output import log_lines
from clearsight_sagemaker.state.home import ServiceHome
from tests.sagemaker.endpoints.hosted import Hosted
from tests.sagemaker.hosting.model_folder import SCRIPT
from tests.sagemaker.local_service import LocalService, job_request, local_service
from tests.sagemaker.resources.test_processing_jobs import create as create_processing
from tests.sagemaker.resources.test_processing_jobs import ended as ended_processing
from tests.sagemaker.tuning.tuning_requests import children, ended_tuning_job, tuning_request


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalService]:
    """A service with a job of several kinds, two of which have the name "dogs", and an endpoint that has failed."""
    with local_service(tmp_path_factory.mktemp("home")) as service:
        service.create_job("dogs", **job_request("dogs", HyperParameters={"script": "wait"}))
        create_processing(service, "dogs")
        service.call("CreateHyperParameterTuningJob", **tuning_request("hpo", jobs=2))
        hosted = Hosted(service)
        hosted.model("lost", {SCRIPT: ""})
        service.client.delete("/models/lost.tar.gz", headers=hosted._objects)
        hosted.config("lost", {"ModelName": "lost"})
        hosted.endpoint("photos", "lost")
        ended_tuning_job(service, "hpo")
        ended_processing(service, "dogs")
        yield service
        service.call("StopTrainingJob", TrainingJobName="dogs")
        service.ended_job("dogs")
        hosted.delete_all()


class Command:
    """Commands on the home of a service."""

    def __init__(self, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self._home, self._capsys = home, capsys

    def __call__(self, *words: str, code: int = 0) -> list[str]:
        """Return what a command prints, of an error its sentence."""
        self._capsys.readouterr()
        assert main([*words, "--home", str(self._home)]) == code
        printed = self._capsys.readouterr()
        return (printed.out or printed.err).splitlines()


@pytest.fixture
def command(service: LocalService, capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(service.state.home.folder, capsys)


def test_all_that_runs_is_listed(command: Command) -> None:
    found = json.loads("".join(command("status", "--json", code=1)))  # it runs in the test, without an address
    assert [(part["kind"], part["name"], part["status"]) for part in found["running"]] == [
        ("training", "dogs", "InProgress"),
        ("endpoint", "photos", "Failed"),
    ]
    assert "running  training job dogs: InProgress (Training)" in command("status", code=1)
    assert "running  endpoint photos: Failed" in command("status", code=1)


def test_a_name_of_two_kinds_is_chosen_by_its_kind(command: Command) -> None:
    [sentence] = command("status", "dogs", code=2)
    assert sentence == (
        "error: dogs: a training job and a processing job have this name. "
        "Choose with --kind training or --kind processing."
    )
    assert command("logs", "dogs", code=2) == [sentence]
    first, status, *_ = command("status", "dogs", "--kind", "processing")
    assert (first, status) == ("job      dogs (processing)", "status   Completed (Completed)")
    assert command("logs", "dogs", "--kind", "training", "--lines", "1") == ["epoch 2 loss=0.333"]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["status", "photo"], "photo: there is no job and no endpoint of this name. Allowed: dogs, hpo-"),
        (["logs", "dog", "--kind", "processing"], "dog: there is no processing job of this name. Allowed: dogs."),
        (["status", "dogs", "--kind", "endpiont"], "--kind endpiont: there is no such kind. Allowed: training,"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_sentence(command: Command, words: list[str], sentence: str) -> None:
    [printed] = command(*words, code=2)
    assert printed.startswith(f"error: {sentence}")
    assert "Did you mean" in printed


def test_a_tuning_job_has_the_logs_of_its_training_jobs(command: Command, service: LocalService) -> None:
    names = [child["TrainingJobName"] for child in children(service, "hpo")]
    first, status, jobs, best, *rest = command("status", "hpo")
    assert (first, status, jobs) == ("job      hpo (tuning)", "status   Completed", "jobs     2 of 2 training jobs")
    assert best.startswith((f"best     {names[0]}: loss = ", f"best     {names[1]}: loss = "))
    assert rest == [f"training {name}: Completed" for name in names]
    lines = command("logs", "hpo")
    assert len(lines) == 6
    assert {line.partition(": epoch 2")[0] for line in lines if ": epoch 2" in line} == {*names}


def test_an_endpoint_has_the_logs_of_its_instances(command: Command) -> None:
    first, status, config, variant, logs = command("status", "photos")
    assert (first, config) == ("endpoint photos", "config   lost")
    assert status.startswith("status   Failed: Failed to download model data")
    assert variant == "variant  AllTraffic: model lost, 0 instances, weight 1"
    assert Path(logs.removeprefix("logs     ")).is_dir()
    assert command("logs", "photos") == []


def test_an_empty_home_has_nothing_and_stays_empty(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = Command(tmp_path / "home", capsys)
    assert command("status", code=1)[0] == "stopped  no service runs"
    assert command("status", "dogs", code=2) == ["error: dogs: there is no job and no endpoint of this name."]
    assert not (tmp_path / "home").exists()


def test_a_log_is_followed_without_a_gap(service: LocalService) -> None:
    log = service.state.training_jobs.folder("dogs").log
    home = ServiceHome(service.state.home.folder)
    lines = log_lines(home, "dogs", "training", 2, follow=True)
    assert [next(lines), next(lines)] == ["epoch 1 loss=0.500", "epoch 2 loss=0.333"]
    with log.open("a") as file:
        file.write("9000000000000 later\nwithout a time\n9000000000001 cut")
        file.flush()
        assert [next(lines), next(lines)] == ["later", "without a time"]
        file.write(" off\n")
    assert next(lines) == "cut off"


def test_several_logs_are_in_the_order_of_their_times(tmp_path: Path) -> None:
    logs = {"a: ": tmp_path / "a", "b: ": tmp_path / "b"}
    logs["a: "].write_text("1 first\n4 fourth\nmore of it\n")
    logs["b: "].write_text("2 second\n3 third\n5 fifth\n")
    expected = ["a: first", "b: second", "b: third", "a: fourth", "a: more of it", "b: fifth"]
    assert last_lines_of(logs, 10)[0] == expected
    lines, tails = last_lines_of(logs, 3)
    assert lines == expected[-3:]
    (tmp_path / "c").write_text("6 sixth\n")
    assert next(new_lines_of(lambda: {**logs, "c: ": tmp_path / "c"}, tails)) == "c: sixth"
