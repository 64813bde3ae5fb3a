"""The hook of the process: `get_hook`, `set_hook`, `del_hook`."""

from __future__ import annotations

import re

from smdebug.core import environment
from smdebug.core.logger import get_logger
from smdebug.exceptions import SMDebugError
from smdebug.pytorch.automatic_registration import current
from smdebug.pytorch.hook import Hook

_OLDEST_TORCH, _FIRST_UNSUPPORTED_TORCH = (1, 5), (3, 0)


def get_hook(json_config_path: str | None = None, create_if_not_exists: bool = False) -> Hook | None:
    """Return the hook of this process, or None.

    create_if_not_exists: make it from a configuration file, by default the job's; without a file there is none.
    None too where USE_SMDEBUG is false, torch is missing or of an unsupported version, or the configuration is wrong:
    that is logged, and the training goes on.
    """
    if environment.is_switched_off() or not _supports_torch():
        return None
    if current.hook is None and create_if_not_exists:
        try:
            set_hook(Hook.create_from_json_file(json_config_path))
        except FileNotFoundError:
            return None  # no job, or one without a hook
        except SMDebugError as error:
            get_logger().error(f"smdebug records nothing: {error}")
    hook = current.hook
    return hook if isinstance(hook, Hook) else None


def set_hook(custom_hook: Hook) -> None:
    """Make a hook the one of this process. Raises SMDebugError for another object."""
    if not isinstance(custom_hook, Hook):
        raise SMDebugError(f"set_hook({custom_hook!r}): must be a Hook.")
    current.hook = custom_hook
    if "explicit" not in environment.choices():
        current.install()


def del_hook() -> None:
    """Forget the hook of this process, and register nothing more. What is registered goes on being recorded."""
    current.hook = None
    current.uninstall()


def _supports_torch() -> bool:
    try:
        import torch
    except ImportError:
        get_logger().warning("smdebug: torch is not installed here, so there is no hook.")
        return False
    numbers = re.findall(r"\d+", str(torch.__version__))
    version = (int(numbers[0]), int(numbers[1]))
    if not _OLDEST_TORCH <= version < _FIRST_UNSUPPORTED_TORCH:
        get_logger().warning(f"smdebug: torch {torch.__version__} is not supported, so there is no hook.")
        return False
    return True
