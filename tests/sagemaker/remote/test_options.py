"""Options of `--remote`, and mistakes that are said before anything is submitted."""

from __future__ import annotations

from pathlib import Path

import pytest

from clearsight.cli import main
from clearsight.core.errors import BadChoice, BadValue, ClearsightError
from clearsight_sagemaker.remote.account import AwsAccount
from clearsight_sagemaker.remote.options import SageMakerOptions

pytestmark = pytest.mark.usefixtures("places")


def test_durations_and_switches_are_read_as_of_flags() -> None:
    options = SageMakerOptions.of({"max_run": "90m", "spot": "true", "volume_gb": "100"})
    assert (options.max_run, options.spot, options.volume_gb) == (5400.0, True, 100)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"instance_typ": "ml.m5.large"}, "Did you mean instance_type?"),
        ({"instance_type": "m5"}, "such as ml.g4dn.xlarge"),
        ({"volume_gb": "0"}, "must be a whole number, at least 1"),
        ({"spot": "perhaps"}, "must be true or false"),
    ],
)
def test_a_wrong_option(options: dict[str, str], sentence: str) -> None:
    with pytest.raises((BadChoice, BadValue)) as caught:
        SageMakerOptions.of(options)
    assert str(caught.value).startswith("--remote ")
    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["train", "DATA", "--on", "sagemakr"], "--on sagemakr: no such place. Allowed: local, sagemaker."),
        (["train", "DATA", "--remote", "spot=true"], "it belongs to a place. Add --on PLACE"),
        (["train", "DATA", "--on", "sagemaker", "--remote", "spot"], "must be NAME=VALUE"),
        (["train", "--on", "sagemaker"], "no data"),
        (["train", "nothing-there", "--on", "sagemaker"], "nothing-there: there is no such file or folder"),
        (["train", "DATA", "--on", "sagemaker", "--model", "restnet18"], "Did you mean resnet18?"),
        (["train", "DATA", "--on", "sagemaker", "--rule", "mine.py"], "files with rules are not submitted"),
        (["train", "DATA", "--on", "sagemaker", "--remote", "rol=x"], "Did you mean role?"),
        (["train", "gs://photos", "--on", "sagemaker"], "or begin with s3://"),
        (["tune", "DATA", "--on", "sagemaker", "--metric", "accuracy", "--metric", "loss"], "has a single metric"),
        (["tune", "DATA", "--on", "sagemaker", "--search", "cmaes"], "sagemaker has no such search"),
        (["tune", "DATA", "--on", "sagemaker", "--storage", "sqlite:///x"], "for studies that clearsight leads itself"),
        (["deploy", "DATA", "--name", "dogs", "--on", "sagemaker"], "it is not a bundle or a finished run"),
        (["deploy", "DATA", "--name", "d", "--on", "sagemaker", "--port", "80"], "cannot be used with --on sagemaker"),
        (["deploy", "DATA", "--name", "d", "--remote", "spot=true"], "it belongs to a place"),
        (["sagemaker", "fetch", "job-1"], "AWS_ENDPOINT_URL"),
    ],
)
def test_a_mistake_is_one_sentence(
    words: list[str],
    sentence: str,
    digits: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text("")
    assert main([str(digits) if word == "DATA" else word for word in words]) == 2
    error = capsys.readouterr().err
    assert sentence in error
    assert len(error.splitlines()) == 1
    assert not (tmp_path / "runs").exists()


def test_credentials_and_a_region_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    with pytest.raises(ClearsightError, match="there are no AWS credentials"):
        AwsAccount(SageMakerOptions()).bucket()
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name)
    with pytest.raises(ClearsightError, match="there is no AWS region"):
        AwsAccount(SageMakerOptions())
