"""Fixtures: the entry points of this checkout, and a service that submissions go to."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from clearsight.core.machine import process_ended
from clearsight.jobs.store import JobStore
from clearsight_sagemaker.clients.environment import client_variables
from clearsight_sagemaker.remote import following
from clearsight_sagemaker.service.lifecycle import start_service, stop_service
from clearsight_sagemaker.service.server import ServiceOptions
from clearsight_sagemaker.state.home import ServiceHome


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the entry points that pyproject.toml declares known, and let AWS be nowhere."""
    declared = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())["project"]["entry-points"]
    facts = tmp_path / "entry-points" / "clearsight_places-0.dist-info"
    facts.mkdir(parents=True)
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: clearsight-places\nVersion: 0\n")
    lines = [f"{name} = {target}" for name, target in declared["clearsight.remotes"].items()]
    (facts / "entry_points.txt").write_text("\n".join(["[clearsight.remotes]", *lines, ""]))
    monkeypatch.syspath_prepend(str(facts.parent))
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    variables = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_REGION": "us-east-1"}
    variables |= {"AWS_DEFAULT_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true", "AWS_MAX_ATTEMPTS": "1"}
    for name, value in {**variables, "AWS_ENDPOINT_URL": "http://127.0.0.1:9"}.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceHome]:
    """A service whose jobs train."""
    home = ServiceHome(tmp_path_factory.mktemp("home") / "sagemaker")
    start_service(ServiceOptions(home=home.folder, max_jobs=2), os.environ)
    yield home
    stop_service(home)
    store = JobStore(home.processes)
    identity = store.supervisor
    store.close()
    if identity and not process_ended(identity):
        os.kill(identity["pid"], 15)


@pytest.fixture
def account(home: ServiceHome, places: None, monkeypatch: pytest.MonkeyPatch) -> ServiceHome:
    """The service as the account of this process."""
    variables = client_variables(home, str(home.address()["url"]), os.environ)
    for name, value in variables.items():
        if value is not None and name not in ("PATH", "PYTHONPATH"):
            monkeypatch.setenv(name, value)
    monkeypatch.setattr(following, "POLL_SECONDS", 0.2)
    monkeypatch.setattr(following, "_LATE_SECONDS", 0.2)
    return home
