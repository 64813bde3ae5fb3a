"""Variables of client programs, and the configuration of the SDK over that of the user."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from clearsight.core.errors import BadData, BadValue
from clearsight.core.files import write_json
from clearsight_sagemaker.clients.environment import client_environment, client_variables
from clearsight_sagemaker.clients.sdk_config import write_sdk_config
from clearsight_sagemaker.state.home import ServiceHome

URL = "http://127.0.0.1:9000"


@pytest.fixture
def home(tmp_path: Path) -> ServiceHome:
    home = ServiceHome(tmp_path / "home")
    home.create()
    return home


def test_what_leads_elsewhere_is_removed(home: ServiceHome) -> None:
    environment = {
        "AWS_PROFILE": "work",
        "AWS_SESSION_TOKEN": "t",
        "AWS_ENDPOINT_URL_S3": "https://elsewhere",
        "HTTP_PROXY": "http://proxy",
        "NO_PROXY": "intranet",
        "AWS_DEFAULT_REGION": "eu-west-1",
        "PYTHONPATH": "/mine",
        "HOME": str(home.folder),
    }
    found = client_environment(home, URL, environment)
    assert not {"AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL_S3", "CLEARSIGHT_FAST_POLLING"} & found.keys()
    assert found["NO_PROXY"] == "intranet,127.0.0.1,localhost,::1"
    assert found["AWS_REGION"] == found["AWS_DEFAULT_REGION"] == "eu-west-1"
    assert found["PYTHONPATH"].endswith(":/mine")
    again = client_environment(home, URL, found)
    assert again["PYTHONPATH"] == found["PYTHONPATH"], "a program in a program has the same"


def test_a_home_has_one_account(home: ServiceHome) -> None:
    first = client_variables(home, URL, {"HOME": str(home.folder)})
    second = client_variables(home, URL, {"HOME": str(home.folder), "AWS_REGION": "eu-west-1"})
    assert first["AWS_SECRET_ACCESS_KEY"] == second["AWS_SECRET_ACCESS_KEY"]
    assert second["AWS_REGION"] == "us-east-1"
    assert (home.folder / "account.json").stat().st_mode & 0o077 == 0


def test_the_configuration_of_the_user_stays(home: ServiceHome, tmp_path: Path) -> None:
    own = tmp_path / ".config" / "sagemaker" / "config.yaml"
    own.parent.mkdir(parents=True)
    settings = {"Session": {"DefaultS3Bucket": "p3-dog"}, "LocalSession": {"a": 1}}
    values = {"SchemaVersion": "1.0", "SageMaker": {"PythonSDK": {"Modules": settings}, "Model": {"EnableX": True}}}
    own.write_text(yaml.safe_dump(values))
    written = yaml.safe_load(write_sdk_config(home.client, "ours", {"HOME": str(tmp_path)}).read_text())
    modules = written["SageMaker"]["PythonSDK"]["Modules"]
    assert modules == {**settings, "TelemetryOptOut": True}
    assert written["SageMaker"]["Model"] == {"EnableX": True}
    override = write_sdk_config(home.client, "ours", {"SAGEMAKER_USER_CONFIG_OVERRIDE": str(own.parent)})
    assert yaml.safe_load(override.read_text()) == written
    plain = yaml.safe_load(write_sdk_config(home.client, "ours", {"HOME": str(home.folder)}).read_text())
    assert plain["SageMaker"]["PythonSDK"]["Modules"]["Session"] == {"DefaultS3Bucket": "ours"}


def test_a_damaged_configuration_is_named(home: ServiceHome, tmp_path: Path) -> None:
    own = tmp_path / "config.yaml"
    own.write_text("a: [")
    with pytest.raises(BadData, match=r"config\.yaml: it is damaged: not YAML"):
        write_sdk_config(home.client, "ours", {"SAGEMAKER_USER_CONFIG_OVERRIDE": str(own)})


def test_clients_find_an_s3_in_the_place_of_the_services_own(home: ServiceHome) -> None:
    home.use_keys({"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "secret"})
    write_json(home.address_file, {"url": URL, "s3_endpoint": "https://objects.example"})
    found = client_variables(home, URL, {})
    assert (found["AWS_ENDPOINT_URL"], found["AWS_ENDPOINT_URL_S3"]) == (URL, "https://objects.example")
    assert (found["AWS_ACCESS_KEY_ID"], found["AWS_SECRET_ACCESS_KEY"]) == ("AKIDEXAMPLE", "secret")
    with pytest.raises(BadValue, match=r"--s3-endpoint: its keys are missing.*AWS_SECRET_ACCESS_KEY"):
        home.use_keys({"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE"})
