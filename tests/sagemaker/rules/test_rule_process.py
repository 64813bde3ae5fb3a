"""RuleProcess: whatever happens to the process of the rules, the job goes on and every rule gets a status."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from clearsight_sagemaker.cli.home_resources import job_values
from clearsight_sagemaker.cli.output import resource_lines
from clearsight_sagemaker.rules.rule_process import RuleProcess, RuleSettings
from clearsight_sagemaker.state.home import ServiceHome
from clearsight_sagemaker.training.event_log import EventLog
from clearsight_sagemaker.training.job_folder import JobFolder
from clearsight_sagemaker.training.job_log import JobLog
from tests.sagemaker.rules.recorded import losses, record
from tests.sagemaker.rules.test_job_rules import details, rule, statuses
from tests.sagemaker.rules.test_run_findings import run_with_losses
from tests.sagemaker.training.conftest import JobRun
from tests.sagemaker.training.test_stop import wait_for


@contextmanager
def running_rules(job: JobRun) -> Iterator[RuleProcess]:
    """Run the process of the rules of a job, without the job."""
    job.write()
    events, log = EventLog(job.folder / "events.jsonl"), JobLog(job.folder / "log.txt")
    settings = RuleSettings(support=job.support, variables={}, user={"PATH": os.environ["PATH"]})
    yield RuleProcess(JobFolder(job.folder), job.request, settings, events, log)
    events.close()
    log.close()


@pytest.fixture
def rules(job: JobRun) -> Iterator[RuleProcess]:
    """The rules of a job that has saved some losses."""
    job.request |= {
        "DebugHookConfig": {"S3OutputPath": "s3://photos/out"},
        "DebugRuleConfigurations": [rule("Overfit")],
    }
    record(job.folder / "work" / "ml" / "output" / "tensors", [*losses([1.0]), *losses([2.0], "EVAL")])
    with running_rules(job) as process:
        yield process


def test_verdicts_become_events_when_they_are_reported(job: JobRun, rules: RuleProcess) -> None:
    rules.finish()
    assert statuses(job) == {"Overfit": ["InProgress"]}
    rules.report()
    assert statuses(job) == {"Overfit": ["InProgress", "IssuesFound"]}
    assert (job.folder / "work" / "ml" / "output" / "tensors" / "training_job_end.ts").is_file()


def test_a_rule_that_was_met_is_reported_again_with_what_clearsight_finds(job: JobRun) -> None:
    """SageMaker's rule is met while the job runs; clearsight's own needs the whole run."""
    output = job.folder / "work" / "ml" / "output"
    job.request |= {"DebugHookConfig": {"S3OutputPath": "s3://photos/out"}}
    job.request["DebugRuleConfigurations"] = [rule("LossNotDecreasing")]
    with running_rules(job) as rules:
        record(output / "tensors", losses([2.0] * 11))
        wait_for(lambda: statuses(job)["LossNotDecreasing"] == ["InProgress", "IssuesFound"])
        run_with_losses(output / "clearsight", [2.0] * 200)
        rules.finish()
        rules.report()
    assert statuses(job)["LossNotDecreasing"] == ["InProgress", "IssuesFound", "IssuesFound"]
    assert "clearsight: " in details(job, "LossNotDecreasing")


def test_a_killed_process_is_an_error_of_the_rules(job: JobRun, rules: RuleProcess) -> None:
    os.kill(rules.pid, signal.SIGKILL)
    os.waitid(os.P_PID, rules.pid, os.WEXITED | os.WNOWAIT)  # its pipe is broken now
    rules.finish()
    rules.report()
    assert statuses(job) == {"Overfit": ["InProgress", "Error"]}
    assert "exit code -9" in details(job, "Overfit")


def test_the_process_ends_with_that_of_the_job(job: JobRun, rules: RuleProcess) -> None:
    process = psutil.Process(rules.pid)
    assert rules._process.stdin is not None
    rules._process.stdin.close()  # as the kernel closes the pipe of a process that was killed
    process.wait(20)
    rules.finish()
    rules.report()
    assert statuses(job) == {"Overfit": ["InProgress", "Error"]}


def test_the_status_of_a_job_shows_its_rules_and_its_run(tmp_path: Path) -> None:
    home = ServiceHome(tmp_path)
    folder = home.jobs / "training-job" / "dogs"
    (folder / "run").mkdir(parents=True)
    events = EventLog(folder / "events.jsonl")
    events.status("Downloading", "Downloading input data")
    events.append("rule", configuration="Overfit", status="IssuesFound", profiler=False, details="at step 9\nby much")
    events.append("finished", status="Completed", time=time.time())
    events.close()
    assert resource_lines(job_values(home, "training", "dogs")) == [
        "job      dogs (training)",
        "status   Completed (Completed)",
        "rule     Overfit: IssuesFound. at step 9 by much",
        f"log      {folder / 'log.txt'}",
        f"run      {folder / 'run'} (open it with: clearsight report, clearsight debug)",
    ]
