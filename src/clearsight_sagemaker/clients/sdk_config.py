"""Configuration of the SageMaker SDK: default bucket and no telemetry, over what the user has configured."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from clearsight.core.errors import BadData
from clearsight.core.files import write_text

_VARIABLE = "SAGEMAKER_USER_CONFIG_OVERRIDE"
_HEAD = "# Written by clearsight: the configuration of the user with the settings of the local service.\n"


def write_sdk_config(folder: Path, bucket: str, environment: Mapping[str, str]) -> Path:
    """Write the configuration into a folder and return its path; raises BadData for a user's file that is no YAML.

    The user's default bucket stays. A configuration of the user that lies in S3 is not read: its bucket is elsewhere.
    """
    values = _user_config(environment)
    values.setdefault("SchemaVersion", "1.0")
    modules = _nested(values, "SageMaker", "PythonSDK", "Modules")
    modules["TelemetryOptOut"] = True
    _nested(modules, "Session").setdefault("DefaultS3Bucket", bucket)
    text = _HEAD + yaml.safe_dump(values, sort_keys=False)
    # A name for each content: programs with different configurations run at the same time.
    path = folder / f"sdk-config-{hashlib.sha256(text.encode()).hexdigest()[:12]}.yaml"
    if not path.is_file():
        write_text(path, text)
    return path


def _user_config(environment: Mapping[str, str]) -> dict[str, Any]:
    override = environment.get(_VARIABLE, "")
    if override.startswith("s3://"):
        return {}
    home = Path(environment.get("XDG_CONFIG_HOME") or Path(environment.get("HOME") or Path.home()) / ".config")
    path = Path(override) if override else home / "sagemaker" / "config.yaml"
    if path.is_dir():
        path = path / "config.yaml"
    if not path.is_file():
        return {}
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError):
        raise BadData(os.fspath(path), "it is damaged: not YAML", fix="Restore it, or remove it.") from None
    return values if isinstance(values, dict) else {}


def _nested(values: dict[str, Any], *names: str) -> dict[str, Any]:
    """Return an inner mapping, which is added where it is missing."""
    for name in names:
        if not isinstance(values.get(name), dict):
            values[name] = {}
        values = values[name]
    return values
