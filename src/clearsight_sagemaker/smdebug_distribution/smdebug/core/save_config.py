"""SaveConfig: the steps at which a collection is saved, one schedule per mode."""

from __future__ import annotations

import json
from typing import Any, Dict, Mapping, Sequence

from smdebug.core.modes import ModeKeys
from smdebug.exceptions import SMDebugTypeError, SMDebugValueError

DEFAULT_SAVE_INTERVAL = 500


class SaveConfigMode:
    """Schedule of one mode: the steps of `save_steps`, and every `save_interval` steps in [start_step, end_step).

    save_interval: at least 1, 500 by default.  end_step: None for no end.  Raises SMDebugValueError.
    """

    def __init__(
        self,
        save_interval: int | str | None = None,
        start_step: int | str | None = None,
        end_step: int | str | None = None,
        save_steps: Sequence[int] | None = None,
    ) -> None:
        self.save_interval = DEFAULT_SAVE_INTERVAL if save_interval is None else _whole("save_interval", save_interval)
        self.start_step = 0 if start_step is None else _whole("start_step", start_step)
        self.end_step = None if end_step is None else _whole("end_step", end_step)
        self.save_steps = [] if save_steps is None else save_steps
        if self.save_interval < 1:
            raise SMDebugValueError(f"save_interval={save_interval}: must be 1 or more.")
        if not isinstance(self.save_steps, list) or not all(isinstance(step, int) for step in self.save_steps):
            raise SMDebugValueError(f"save_steps={save_steps}: must be a list of whole numbers.")

    def should_save_step(self, step_num: int) -> bool:
        """Return True for a step that the schedule saves."""
        if step_num in self.save_steps:
            return True
        in_range = step_num >= self.start_step and (self.end_step is None or step_num < self.end_step)
        return in_range and step_num % self.save_interval == 0

    def to_json_dict(self) -> dict[str, Any]:
        return {
            "save_interval": self.save_interval,
            "save_steps": self.save_steps,
            "start_step": self.start_step,
            "end_step": self.end_step,
        }

    @classmethod
    def from_dict(
        cls, params: Mapping[str, Any] | None, default_values: Mapping[str, Any] | None = None
    ) -> SaveConfigMode | None:
        """Return the schedule of `params`, with `default_values` for what they leave out. None stays None."""
        if params is None:
            return None
        if not isinstance(params, Mapping):
            raise SMDebugTypeError(f"params={params!r}: must be a dict.")
        names = ("save_interval", "start_step", "end_step", "save_steps")
        return cls(**{name: params.get(name, (default_values or {}).get(name)) for name in names})

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SaveConfigMode) and self.to_json_dict() == other.to_json_dict()

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        values = ", ".join(f"{name}={value}" for name, value in self.to_json_dict().items())
        return f"<class SaveConfig: {values}>"


ModeConfigs = Dict[ModeKeys, Any]


class SaveConfig:
    """Schedules of every mode. Without `mode_save_configs`, one schedule of the other arguments for all modes.

    mode_save_configs: mode -> SaveConfigMode; modes left out get the hook's schedule.  Raises SMDebugValueError.
    """

    def __init__(
        self,
        mode_save_configs: ModeConfigs | None = None,
        save_interval: int | None = None,
        start_step: int | None = None,
        end_step: int | None = None,
        save_steps: Sequence[int] | None = None,
    ) -> None:
        if mode_save_configs is None:
            schedule = {mode: SaveConfigMode(save_interval, start_step, end_step, save_steps) for mode in ModeKeys}
            self.mode_save_configs: ModeConfigs = dict(schedule)
            return
        for mode, config in mode_save_configs.items():
            if not isinstance(mode, ModeKeys) or not (config is None or isinstance(config, SaveConfigMode)):
                raise SMDebugValueError(f"mode_save_configs: {mode}: {config} must be a ModeKeys and a SaveConfigMode.")
        self.mode_save_configs = {mode: mode_save_configs.get(mode) for mode in ModeKeys}

    def get_save_config(self, mode: ModeKeys) -> SaveConfigMode:
        config: SaveConfigMode | None = self.mode_save_configs[mode]
        if config is None:
            raise SMDebugValueError(f"{mode.name}: this mode has no schedule yet. Merge the default one first.")
        return config

    def set_save_config(self, mode: ModeKeys, save_config_mode: SaveConfigMode) -> None:
        if not isinstance(save_config_mode, SaveConfigMode):
            raise SMDebugValueError(f"save_config_mode={save_config_mode!r}: must be a SaveConfigMode.")
        self.mode_save_configs[mode] = save_config_mode

    def should_save_step(self, mode: ModeKeys, step_num: int) -> bool:
        """Return True for a step of `mode` that is saved."""
        return self.get_save_config(mode).should_save_step(step_num)

    def merge_default_save_config(self, default_save_config: SaveConfig) -> None:
        """Fill the modes without a schedule from the hook's schedules."""
        for mode in ModeKeys:
            if self.mode_save_configs[mode] is None:
                self.mode_save_configs[mode] = default_save_config.mode_save_configs[mode] or SaveConfigMode()

    def to_json_dict(self) -> dict[str, Any]:
        configs = self.mode_save_configs.items()
        return {mode.name: config.to_json_dict() if config else None for mode, config in configs}

    def to_json(self) -> str:
        return json.dumps(self.to_json_dict())

    @classmethod
    def from_dict(
        cls, params: Mapping[Any, Any] | None, default_values: Mapping[str, Any] | None = None
    ) -> SaveConfig | None:
        """Return the schedules of a dict: mode or its name -> SaveConfigMode or dict. None stays None."""
        if params is None:
            return None
        configs = {ModeKeys[mode] if isinstance(mode, str) else mode: config for mode, config in params.items()}
        return cls(
            {
                mode: config if isinstance(config, SaveConfigMode) else SaveConfigMode.from_dict(config, default_values)
                for mode, config in configs.items()
            }
        )

    @classmethod
    def from_json(cls, json_str: str) -> SaveConfig | None:
        return cls.from_dict(json.loads(json_str))

    @classmethod
    def from_save_config_mode(cls, save_config_mode: SaveConfigMode) -> SaveConfig:
        return cls(dict.fromkeys(ModeKeys, save_config_mode))

    @classmethod
    def parse(cls, obj: Any) -> SaveConfig:
        """Return the schedules of None, a SaveConfig, a SaveConfigMode or a dict. Raises SMDebugTypeError."""
        if obj is None:
            return cls()
        if isinstance(obj, SaveConfig):
            return obj
        if isinstance(obj, SaveConfigMode):
            return cls.from_save_config_mode(obj)
        parsed = cls.from_dict(obj) if isinstance(obj, dict) else None
        if parsed is None:
            raise SMDebugTypeError(f"save_config={obj!r}: must be a SaveConfig, a SaveConfigMode or a dict of modes.")
        return parsed

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SaveConfig) and self.mode_save_configs == other.mode_save_configs

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<class SaveConfig: {self.mode_save_configs}>"


def _whole(name: str, value: int | str) -> int:
    try:
        return int(value)
    except (TypeError, ValueError):
        raise SMDebugValueError(f"{name}={value!r}: must be a whole number.") from None
