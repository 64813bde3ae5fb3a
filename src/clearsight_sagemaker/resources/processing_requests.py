"""Rules of a CreateProcessingJob request that its shape does not have."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath
from typing import Any

from clearsight_sagemaker.protocols.errors import validation_error

_CLARIFY = "sagemaker-clarify-processing"
_REPOSITORY = re.compile(r"(?:[^/]+/)*([^/:@]+)(?::[^/@]+)?(?:@.+)?")
# Images of PyTorch, of scikit-learn, and of Python itself: their programs find the same packages on this machine.
_PACKAGES = ("pytorch", "scikit", "python")
_DEFAULT_SECONDS = 86_400
_ROOT = "/opt/ml/processing"


def checked_processing_request(request: Mapping[str, Any]) -> dict[str, Any]:
    """Return the request with its defaults; raises ServiceError for one that cannot become a job here."""
    application = request["AppSpecification"]
    name = _image_name(application["ImageUri"])
    if name != _CLARIFY and "ContainerEntrypoint" not in application:
        raise validation_error(
            f"AppSpecification has no ContainerEntrypoint. The program of the image {name} is not on this machine; name"
            " the command that the job runs."
        )
    cluster = request["ProcessingResources"]["ClusterConfig"]
    if not ({"InstanceType", "InstanceCount"} <= cluster.keys() or "InstancePreferences" in cluster):
        raise validation_error("ClusterConfig must have InstanceType and InstanceCount, or InstancePreferences.")
    inputs = request.get("ProcessingInputs", [])
    outputs = request.get("ProcessingOutputConfig", {}).get("Outputs", [])
    _check_unique("ProcessingInputs", "InputName", inputs)
    _check_unique("Outputs", "OutputName", outputs)
    for entry in inputs:
        _check_input(entry)
    for entry in outputs:
        _check_output(entry)
    stopping = {"MaxRuntimeInSeconds": _DEFAULT_SECONDS, **request.get("StoppingCondition", {})}
    return {**request, "StoppingCondition": stopping}


def _image_name(uri: str) -> str:
    """Return the name of the image of a URI; raises ServiceError for one that cannot be run without its container."""
    found = _REPOSITORY.fullmatch(uri)
    name = found.group(1) if found else uri
    if name != _CLARIFY and not {*_PACKAGES} & {*name.split("-")}:
        raise validation_error(
            f"The local service runs processing jobs of PyTorch, scikit-learn, Python and Clarify images, and {name} is"
            f" none ({uri}). Containers are not started on this machine; use a PyTorchProcessor, an SKLearnProcessor or"
            " a ScriptProcessor with one of these images."
        )
    return name


def _check_input(entry: Mapping[str, Any]) -> None:
    word = f"The processing input {entry['InputName']!r}"
    if "S3Input" not in entry:
        found = "a DatasetDefinition" if "DatasetDefinition" in entry else "no S3Input"
        raise validation_error(f"{word} has {found}. The local service reads S3Input alone.")
    source = entry["S3Input"]
    if source.get("S3InputMode", "File") != "File":
        raise validation_error(f"{word} has S3InputMode {source['S3InputMode']}. The local service has File alone.")
    if not entry.get("AppManaged"):
        _check_path(word, source.get("LocalPath", ""))


def _check_output(entry: Mapping[str, Any]) -> None:
    word = f"The processing output {entry['OutputName']!r}"
    if "S3Output" not in entry:
        found = "a FeatureStoreOutput" if "FeatureStoreOutput" in entry else "no S3Output"
        raise validation_error(f"{word} has {found}. The local service writes S3Output alone.")
    if not entry.get("AppManaged"):
        _check_path(word, entry["S3Output"].get("LocalPath", ""))


def _check_path(word: str, path: str) -> None:
    parts = PurePosixPath(path)
    if not parts.is_relative_to(_ROOT) or ".." in parts.parts or parts == PurePosixPath(_ROOT) or "\0" in path:
        raise validation_error(f"{word} has LocalPath {path!r}. It must be a path below {_ROOT}/.")


def _check_unique(member: str, key: str, items: Iterable[Mapping[str, Any]]) -> None:
    name, count = next(iter(Counter(str(item[key]) for item in items).most_common(1)), ("", 0))
    if count > 1:
        raise validation_error(f"{member} has {key} {name!r} {count} times. It must be unique.")
