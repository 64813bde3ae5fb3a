"""Configuration of a hook by a JSON file, as SageMaker writes it from a DebuggerHookConfig.

{"LocalPath": "/opt/ml/output/tensors", "HookParameters": {"train.save_interval": "100"},
 "CollectionConfigurations": [{"CollectionName": "losses", "CollectionParameters": {"save_interval": "500"}}]}

For each collection the schedule of a mode is that of the hook, overridden by the collection's values without a prefix,
overridden by those with the prefix of the mode. So a collection's plain `save_interval` wins over the hook's
`train.save_interval`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Mapping

from smdebug.core import environment
from smdebug.core.collection_manager import CollectionManager
from smdebug.core.modes import ModeKeys
from smdebug.core.reduction_config import ReductionConfig, parse_bool
from smdebug.core.save_config import SaveConfig, SaveConfigMode
from smdebug.exceptions import SMDebugValueError

Parameters = Mapping[str, Any]


@dataclass(frozen=True)
class HookConfig:
    """Configuration of a hook. mode_parameters: mode -> values of its schedule."""

    out_dir: str
    mode_parameters: Mapping[ModeKeys, Parameters]
    hook_parameters: Parameters
    collections: Mapping[str, Parameters] | None
    tensorboard_dir: str | None = None
    export_tensorboard: bool = False
    include_regex: list[str] | None = field(default=None)

    def save_config(self) -> SaveConfig:
        return SaveConfig.parse(dict(self.mode_parameters))

    def reduction_config(self) -> ReductionConfig | None:
        return ReductionConfig.from_dict(self.hook_parameters) if "reductions" in self.hook_parameters else None

    def configure(self, collections: CollectionManager) -> None:
        """Apply the configurations of the collections."""
        for name, parameters in (self.collections or {}).items():
            collection = collections.get(name)
            modes = mode_parameters(parameters, self.mode_parameters)
            collection.save_config = SaveConfig.parse(modes)
            if "reductions" in parameters:
                collection.reduction_config = ReductionConfig.from_dict(parameters)
            if "include_regex" in parameters:
                collection.include(split(parameters["include_regex"]))
            if "save_histogram" in parameters:
                collection.save_histogram = parse_bool("save_histogram", parameters["save_histogram"])


def read_hook_config(path: str | None = None) -> HookConfig:
    """Return the configuration of a file, by default the job's. Raises FileNotFoundError, SMDebugValueError."""
    path = path or environment.hook_config_path()
    with open(path, encoding="utf-8") as stream:
        text = stream.read()
    try:
        content = json.loads(text)
    except ValueError as error:
        raise SMDebugValueError(f"{path}: the file is no JSON ({error}).") from None
    hook_parameters = content.get("HookParameters") or {}
    listed = content.get("CollectionConfigurations")
    if listed is not None and any("CollectionName" not in entry for entry in listed):
        raise SMDebugValueError(f"{path}: an entry of CollectionConfigurations has no CollectionName. Give it one.")
    # In a job TensorBoard's files go where its own configuration says; elsewhere the hook's parameters decide.
    in_job = environment.is_in_job()
    tensorboard_dir = environment.tensorboard_folder() if in_job else hook_parameters.get("tensorboard_dir")
    exports = not in_job and parse_bool("export_tensorboard", hook_parameters.get("export_tensorboard", False))
    patterns = hook_parameters.get("include_regex")
    return HookConfig(
        out_dir=content.get("LocalPath") or environment.TENSORS_FOLDER,
        mode_parameters=mode_parameters(hook_parameters),
        hook_parameters=hook_parameters,
        collections=None
        if listed is None
        else {entry["CollectionName"]: entry.get("CollectionParameters") or {} for entry in listed},
        tensorboard_dir=tensorboard_dir,
        export_tensorboard=exports,
        include_regex=None if patterns is None else split(patterns),
    )


def mode_parameters(
    parameters: Parameters, default: Mapping[ModeKeys, Parameters] | None = None
) -> dict[ModeKeys, dict[str, Any]]:
    """Return the values of each mode's schedule: `default`, then those without a prefix, then those of the mode."""
    plain = _schedule_values(parameters, "")
    return {
        mode: {**(default or {}).get(mode, {}), **plain, **_schedule_values(parameters, mode.prefix)}
        for mode in ModeKeys
    }


def split(text: str) -> list[str]:
    """Return the parts between commas."""
    return [part.strip() for part in text.split(",")]


def _schedule_values(parameters: Parameters, prefix: str) -> dict[str, Any]:
    names = ("save_interval", "save_steps", "start_step", "end_step")
    values = {name: parameters[prefix + name] for name in names if prefix + name in parameters}
    if "save_steps" in values:
        steps = split(str(values["save_steps"]))
        if not all(step.isdigit() for step in steps):
            raise SMDebugValueError(f"{prefix}save_steps={values['save_steps']!r}: must be whole numbers, as in 1,2,3.")
        values["save_steps"] = [int(step) for step in steps]
    SaveConfigMode.from_dict(values)  # a value that is no number is refused here, with its name
    return values
