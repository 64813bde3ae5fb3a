"""What a job sees of the machine, and that the machine stays as it is."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from clearsight_sagemaker.training.processes import namespaces
from clearsight_sagemaker.training.processes.namespaces import NamespaceSupport, ml_link, namespace_support
from tests.sagemaker.training.conftest import JobRun

SHOWS = "import json, os\nprint(json.dumps({}), flush=True)\n"


def shown(job: JobRun) -> object:
    """Return what the script has printed as JSON."""
    return next(json.loads(line) for line in reversed(job.log) if line.startswith(("{", "[")))


@pytest.mark.parametrize("way", ["overlay", "tmpfs"])
def test_a_job_has_an_opt_ml_of_its_own_and_the_rest_of_opt(
    job_in: Callable[[NamespaceSupport], JobRun], machine_support: NamespaceSupport, way: str
) -> None:
    if not machine_support.no_network:
        pytest.skip(f"no namespaces on this machine: {machine_support.reason}")
    before = sorted(os.listdir("/opt"))
    job = job_in(NamespaceSupport(way))  # type: ignore[arg-type]
    job.code(
        "import json, os\n"
        "open('/opt/written', 'w').close()\n"
        "print(json.dumps([sorted(os.listdir('/opt')), sorted(os.listdir('/opt/ml')), os.getuid()]))\n"
    )
    assert job.run() == "Completed", job.log
    opt, ml, uid = shown(job)  # type: ignore[misc]
    assert opt == sorted([*before, *(["ml"] if "ml" not in before else []), "written"])
    assert {"code", "input", "model", "output"} <= set(ml)
    assert uid == os.getuid()
    assert sorted(os.listdir("/opt")) == before


def test_a_job_sees_its_own_processes_alone(private_job: JobRun) -> None:
    private_job.code("import json, os\nprint(json.dumps([n for n in os.listdir('/proc') if n.isdigit()]))\n")
    assert private_job.run() == "Completed"
    assert len(shown(private_job)) == 2  # type: ignore[arg-type]  # the first process of the namespace, and the script


def test_without_namespaces_the_variables_lead_to_the_folders(job_in: Callable[[NamespaceSupport], JobRun]) -> None:
    job = job_in(NamespaceSupport("environment", "unshare: Operation not permitted"))
    job.request["DebugHookConfig"] = {"S3OutputPath": "s3://photos/"}
    job.put("data/1.png", b"image")
    job.channel("train", "s3://photos/data/")
    job.code(
        "import json, os\n"
        "hook = json.load(open(os.environ['SMDEBUG_CONFIG_FILE_PATH']))\n"
        "assert os.path.isdir(hook['LocalPath'])\n"
        "open(os.path.join(os.environ['SM_MODEL_DIR'], 'a'), 'w').close()\n"
        "print(json.dumps(os.listdir(os.environ['SM_CHANNEL_TRAIN'])))\n"
    )
    assert job.run() == "Completed", job.log
    assert shown(job) == ["1.png"]
    assert list(job.archive("job-1/output/model.tar.gz")) == ["a"]
    assert "Namespaces are refused: unshare: Operation not permitted." in "\n".join(job.log)


RUN_WITH_LINK = """
import os, sys
from pathlib import Path
from clearsight_sagemaker.training.environment import UserEnvironment
from clearsight_sagemaker.training.job import run_job
from clearsight_sagemaker.training.processes.namespaces import NamespaceSupport
user = UserEnvironment(variables={"PATH": os.environ["PATH"]})
print(run_job(Path(sys.argv[1]), user, support=NamespaceSupport("symlink", "unshare: Operation not permitted")))
print(os.readlink("/opt/ml"))
"""


def test_a_link_that_the_user_has_made_leads_to_the_job(private_job: JobRun, tmp_path: Path) -> None:
    """The link is in an /opt of this test."""
    private_job.code("open('/opt/ml/model/a', 'w').close()\n")
    private_job.write()
    for name in ("upper", "scratch"):
        (tmp_path / name).mkdir()
    options = f"lowerdir=/opt,upperdir={tmp_path}/upper,workdir={tmp_path}/scratch"
    words = [sys.executable, "-c", RUN_WITH_LINK, str(private_job.folder)]
    script = f"mount -t overlay overlay -o {options} /opt && ln -s /before /opt/ml && exec {shlex.join(words)}"
    done = subprocess.run(["unshare", "-rm", "/bin/sh", "-c", script], capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == ["Completed", "/before"], done.stderr
    assert list(private_job.archive("job-1/output/model.tar.gz")) == ["a"]
    (tmp_path / "scratch" / "work").chmod(0o700)


def test_support_says_why_namespaces_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(namespaces, "_problem", lambda folder, way: "unshare: Operation not permitted")
    monkeypatch.setattr(namespaces, "_LINK", tmp_path / "ml")
    assert namespace_support(tmp_path) == NamespaceSupport("environment", "unshare: Operation not permitted")
    (tmp_path / "ml").symlink_to("/somewhere")
    assert namespace_support(tmp_path).way == "symlink"
    assert list(tmp_path.iterdir()) == [tmp_path / "ml"]


def test_a_link_leads_to_one_job_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    link, support = tmp_path / "ml", NamespaceSupport("symlink")
    link.symlink_to("/before")
    monkeypatch.setattr(namespaces, "_LINK", link)
    targets = [tmp_path / "jobs" / f"job-{number}" / "work" / "ml" for number in range(4)]
    for target in targets:
        target.mkdir(parents=True)

    def use(target: Path) -> None:
        for _ in range(20):
            with ml_link(target, support):
                seen.append(os.readlink(link) == str(target))

    seen: list[bool] = []
    threads = [threading.Thread(target=use, args=(target,)) for target in targets]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [True] * 80
    assert os.readlink(link) == "/before"


def test_an_isolated_job_has_the_loopback_alone(private_job: JobRun) -> None:
    private_job.request["EnableNetworkIsolation"] = True
    private_job.code(
        "import json, socket\n"
        "server = socket.create_server(('127.0.0.1', 0))\n"
        "socket.create_connection(server.getsockname(), timeout=5)\n"
        "print(json.dumps([name for _, name in socket.if_nameindex()]))\n"
    )
    assert private_job.run() == "Completed", private_job.log
    assert shown(private_job) == ["lo"]


def test_the_environment_is_clean(job: JobRun) -> None:
    job.variables = {"LANG": "de_DE.UTF-8", "SECRET_OF_THE_SHELL": "1", "SM_CHANNEL_TRAIN": "s3://a/b", "HOME": "/root"}
    job.request["Environment"] = {"WANDB_MODE": "offline"}
    job.request["HyperParameters"] |= {"epochs": "2", "names": '["a", "b"]'}
    job.channel("test-set", job.put("data/1.png", b"image"))
    job.code(SHOWS.format("dict(os.environ)"))
    assert job.run() == "Completed"
    variables = shown(job)
    assert isinstance(variables, dict)
    assert not {"SECRET_OF_THE_SHELL", "SM_CHANNEL_TRAIN"} & set(variables)
    assert variables["LANG"] == "de_DE.UTF-8"
    assert variables["WANDB_MODE"] == "offline"
    assert variables["HOME"].startswith(str(job.folder))
    assert variables["SM_HP_NAMES"] == '["a","b"]'
    assert variables["SM_CHANNEL_TEST-SET"].endswith("/input/data/test-set")
    assert variables["SM_MODULE_NAME"] == "train"
    assert variables["TRAINING_JOB_ARN"] == "arn:aws:sagemaker:us-east-1:123456789012:training-job/job-1"
    assert variables["TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"] == "1"  # the image is PyTorch 1.9
    assert json.loads(variables["SM_TRAINING_ENV"])["hyperparameters"] == {"epochs": 2, "names": ["a", "b"]}


def test_a_job_finds_its_host_by_name(private_job: JobRun) -> None:
    private_job.code("import json, socket\nprint(json.dumps([socket.gethostbyname('algo-1')]))\n")
    assert private_job.run() == "Completed", private_job.log
    assert shown(private_job) == ["127.0.0.1"]


def wheel(folder: Path, version: str) -> None:
    """Write a wheel of a package `photo_labels` with one module."""
    folder.mkdir(exist_ok=True)
    info = f"photo_labels-{version}.dist-info"
    with zipfile.ZipFile(folder / f"photo_labels-{version}-py3-none-any.whl", "w") as archive:
        archive.writestr("photo_labels.py", f"VERSION = {version!r}\n")
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: photo-labels\nVersion: {version}\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")


def test_packages_of_requirements_are_the_jobs_alone(job: JobRun, tmp_path: Path) -> None:
    wheel(tmp_path / "wheels", "1.0")
    job.job_environment = {"PIP_FIND_LINKS": str(tmp_path / "wheels"), "PIP_NO_INDEX": "1"}
    job.code("import numpy, photo_labels\nprint(photo_labels.VERSION)\n", {"requirements.txt": "photo-labels\nnumpy\n"})
    assert job.run() == "Completed", job.log
    assert "1.0" in job.log
    with pytest.raises(ModuleNotFoundError):
        __import__("photo_labels")

    # What the job installs itself is gone with the job.
    wheel(tmp_path / "wheels", "2.0")
    job.folder = job.folder.with_name("job-2")
    job.code(
        "import os, subprocess, sys\n"
        "subprocess.run(['pip', 'install', '-q', 'photo-labels==2.0'], check=True)\n"
        "os.execvp('python', ['python', '-c', 'import photo_labels; print(photo_labels.VERSION)'])\n",
        {"requirements.txt": "photo-labels\nnumpy\n"},
    )
    assert job.run() == "Completed", job.log
    assert "2.0" in job.log
    [shared] = (tmp_path / "jobs" / "home" / "environments").glob("*/lib/*/site-packages/photo_labels.py")
    assert "1.0" in shared.read_text()


def test_a_package_that_cannot_be_had_is_named(job: JobRun, tmp_path: Path) -> None:
    job.job_environment = {"PIP_FIND_LINKS": str(tmp_path), "PIP_NO_INDEX": "1"}
    job.code("print(1)\n", {"requirements.txt": "photo-labels==9\n"})
    assert job.run() == "Failed"
    assert "photo-labels==9" in job.reason
    assert "PIP_FIND_LINKS" in job.reason


def test_a_script_that_is_no_python(job: JobRun) -> None:
    job.request["HyperParameters"] |= {"epochs": "2"}
    job.code('#!/bin/sh\necho "run with $1 $2"\n', program="train.sh")
    assert job.run() == "Completed", job.log
    assert "run with --epochs 2" in job.log
