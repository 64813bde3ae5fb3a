"""A job that fails says why, in one reason that a user can act on."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clearsight_sagemaker.training.failure import MOST_REASON, container_error, script_error
from clearsight_sagemaker.training.processes.namespaces import NamespaceSupport
from tests.sagemaker.training.conftest import JobRun


@given(st.lists(st.text()), st.lists(st.text(min_size=1), min_size=1), st.integers(1, 255))
def test_a_reason_has_its_prefix_its_exit_code_and_its_length(lines: list[str], command: list[str], code: int) -> None:
    for failure in (script_error(command, code, lines * 50), container_error("\n".join(lines) * 50, code)):
        assert len(failure.reason) <= MOST_REASON
        assert failure.reason.startswith("AlgorithmError: ")
        assert failure.reason.endswith(f", exit code: {code}")


def test_of_a_long_traceback_the_message_is_in_the_reason(job: JobRun) -> None:
    job.code("def f(n):\n    if n: f(n - 1)\n    raise KeyError('SM_CHANNEL_VALIDATION')\nfor _ in range(3): f(20)\n")
    assert job.run() == "Failed"
    assert "KeyError: 'SM_CHANNEL_VALIDATION'\"\nCommand" in job.reason
    assert len(job.reason) <= MOST_REASON


def test_a_module_that_is_missing(job: JobRun) -> None:
    job.code("import detectron2\n")
    assert job.run() == "Failed"
    assert "ModuleNotFoundError: No module named 'detectron2'" in job.reason


def test_a_script_that_is_missing(job: JobRun) -> None:
    job.code("print(1)\n")
    job.request["HyperParameters"]["sagemaker_program"] = '"main.py"'
    assert job.run() == "Failed"
    assert "can't open file '/opt/ml/code/main.py'" in job.reason or "main.py" in job.reason
    assert job.reason.endswith("exit code: 2")


def test_the_failure_file_is_the_reason_and_comes_with_the_output(job: JobRun) -> None:
    job.code(
        "import os, pathlib\n"
        "output = pathlib.Path(os.environ['SM_OUTPUT_DIR'])\n"
        "(output / 'failure').write_text('class cat has no images')\n"
        "(output / 'data' / 'notes.txt').write_text('1')\n"
        "raise SystemExit(3)\n"
    )
    assert job.run() == "Failed"
    assert job.reason == "AlgorithmError: class cat has no images, exit code: 3"
    members = {"failure": b"class cat has no images", "notes.txt": b"1"}
    assert job.archive("job-1/output/output.tar.gz") == members
    assert not job.has("job-1/output/model.tar.gz")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"HyperParameters": {}}, "the request names no script"),
        ({"HyperParameters": {"sagemaker_program": "a.py", "sagemaker_mpi_enabled": "true"}}, "sagemaker_mpi_enabled"),
        ({"OutputDataConfig": {"S3OutputPath": "s3://nowhere/"}}, "The specified bucket does not exist"),
        (
            {"CheckpointConfig": {"S3Uri": "s3://photos/a", "LocalPath": "/tmp/a"}},
            "LocalPath /tmp/a must be a folder in",
        ),
        ({"HyperParameters": {"sagemaker_program": "a.py", "x": '"a\\u0000b"'}}, "cannot be started"),
    ],
)
def test_a_request_that_cannot_be_carried_out(job: JobRun, change: dict[str, object], problem: str) -> None:
    job.code("print(1)\n")
    job.request |= change
    assert job.run() == "Failed"
    assert job.reason.startswith("ClientError: ")
    assert problem in job.reason


def test_code_that_is_missing_or_damaged(job: JobRun) -> None:
    job.request["HyperParameters"] = {
        "sagemaker_program": "train.py",
        "sagemaker_submit_directory": job.put("code/sourcedir.tar.gz", b"no archive"),
    }
    assert job.run() == "Failed"
    assert job.reason.startswith("ClientError: code s3://photos/code/sourcedir.tar.gz: ")


def test_an_archive_that_leaves_its_folder_is_refused(job: JobRun, tmp_path: Path) -> None:
    job.code("print(1)\n", {"../../escaped.py": "print(2)\n"})
    assert job.run() == "Failed"
    assert "would be written outside its folder" in job.reason
    assert not list(tmp_path.rglob("escaped.py"))


def test_isolation_that_is_not_possible_is_refused(job_in: Callable[[NamespaceSupport], JobRun]) -> None:
    job = job_in(NamespaceSupport("environment", "unshare: Operation not permitted"))
    job.request["EnableNetworkIsolation"] = True
    job.code("print(1)\n")
    assert job.run() == "Failed"
    assert job.reason.startswith("ClientError: EnableNetworkIsolation is not possible on this machine: unshare")


def test_a_full_disk_fails_the_job_and_tears_nothing(job: JobRun, tmp_path: Path) -> None:
    """The job and its objects lie on a file system of 4 MB, which the script fills."""
    if not job.support.no_network:
        pytest.skip(f"no namespaces on this machine: {job.support.reason}")
    job.code(
        "import os, pathlib\n"
        "path = pathlib.Path(os.environ['SM_MODEL_DIR'], 'model.pth')\n"
        "with open(path, 'wb', buffering=0) as file:\n"
        "    while True:\n"
        "        try: file.write(os.urandom(1 << 16))\n"
        "        except OSError: break\n"
        "print('full')\n"
    )
    job.write()
    job.store.rows(
        "DELETE FROM objects"
    )  # rows are for inodes, which copies do not have; files without rows are objects
    job.store.close()
    small, copy = tmp_path / "small", tmp_path / "copy"
    for folder in (small, copy):
        folder.mkdir()
    text = (job.folder / "service.json").read_text().replace(str(job.store.folder), str(small / "objects"))
    (job.folder / "service.json").write_text(text)
    script = (
        f"mount -t tmpfs -o size=4m tmpfs {small} && cp -a {job.store.folder} {job.folder} {small} && "
        f"{{ {sys.executable} -m clearsight_sagemaker.training {small}/job-1; cp -a {small}/* {copy}; }}"
    )
    subprocess.run(["unshare", "-rm", "/bin/sh", "-c", script], check=True, env=dict(os.environ), timeout=60)
    job.folder = copy / "job-1"
    assert job.events[-1]["status"] == "Failed"
    assert job.reason.startswith("ClientError: No space is left on the disk: ")
    assert not list((copy / "objects").rglob("model.tar.gz"))
    assert not list((copy / "objects").glob("*/.clearsight-s3/new/*"))


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash on this machine")
def test_a_container_command_runs_as_it_stands(private_job: JobRun) -> None:
    job = private_job
    driver = (
        "#!/bin/bash\nset -e\n"
        "python -c 'import json; print(sorted(json.load(open(\"/opt/ml/input/config/inputdataconfig.json\"))))'\n"
        "cd /opt/ml/input/data/code && $(command -v python3) train.py --lr 0.1\n"
    )
    job.put("job-1/input/sm_drivers/sm_train.sh", driver.encode())
    job.put("job-1/input/code/train.py", b"import sys\nprint(sys.argv[1:])\nopen('/opt/ml/model/a', 'w').write('1')\n")
    job.channel("code", "s3://photos/job-1/input/code/", InputMode="File")
    job.channel("sm_drivers", "s3://photos/job-1/input/sm_drivers/", InputMode="File")
    script = "/opt/ml/input/data/sm_drivers/sm_train.sh"
    job.request["AlgorithmSpecification"] |= {
        "ContainerEntrypoint": ["/bin/bash"],
        "ContainerArguments": ["-c", f"chmod +x {script} && {script}"],
    }
    assert job.run() == "Completed", job.log
    assert "['code', 'sm_drivers']" in job.log
    assert "['--lr', '0.1']" in job.log
    assert job.archive("job-1/output/model.tar.gz") == {"a": b"1"}


def test_events_of_a_failed_job_have_reason_and_exit_code(job: JobRun) -> None:
    job.code("raise SystemExit(7)\n")
    assert job.run() == "Failed"
    [failed] = [event for event in job.events if event["kind"] == "failed"]
    assert failed["exit_code"] == 7
    assert json.dumps(failed["reason"]) in (job.folder / "events.jsonl").read_text()
