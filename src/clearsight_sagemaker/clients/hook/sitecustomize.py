"""Import hook for programs that use the SageMaker SDK with a local service.

Python imports this file at its start where its folder is on PYTHONPATH. It runs in any environment of Python 3.8 or
later and needs nothing but the standard library. It changes functions of the SDK after their import:

- `sts_regional_endpoint`: the SDK passes an address of AWS to its STS client, which AWS_ENDPOINT_URL does not change.
- `_requests_helper`: telemetry, which is sent to AWS without asking the configuration in one place.
- `sagemaker_short_timestamp`: names of tuning jobs are to the minute, and a local job may take seconds.
- `NOTEBOOK_METADATA_FILE`: where the SDK finds the execution role; the real path is outside the user's folders.
- `time` of modules that poll, with CLEARSIGHT_FAST_POLLING=1: sleeps of 10 to 30 s become short.

A sitecustomize that the environment has already is run afterwards.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import os
import sys
import time
from types import ModuleType
from typing import Any

_URL = "CLEARSIGHT_SAGEMAKER_URL"
_METADATA = "CLEARSIGHT_SAGEMAKER_METADATA"
_FAST_POLLING = "CLEARSIGHT_FAST_POLLING"
_POLLING_SECONDS = 0.5
# Modules that sleep between two requests. Those of resources measure timeouts, and get short sleeps alone.
_POLLING_MODULES = ("sagemaker.session",)
_WAITING_MODULES = ("sagemaker_core.main.resources", "sagemaker.core.resources", "sagemaker.core.helper.session_helper")


def service_endpoint(region: str) -> str:
    """Return the address of the service in place of that of STS in a region."""
    return os.environ[_URL]


def timestamp_with_seconds() -> str:
    """Return a short timestamp of 13 characters; that of the SDK has 11."""
    return time.strftime("%y%m%d-%H%M%S")


def send_nothing(url: str, timeout: float) -> None:
    """Send no telemetry."""


class ShortSleep:
    """The module `time` with short sleeps."""

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)

    def sleep(self, seconds: float) -> None:
        """Sleep half a second at most."""
        time.sleep(min(seconds, _POLLING_SECONDS))


class FastTime(ShortSleep):
    """The module `time` for modules that poll: sleeps are short, and its clock counts them in full.

    The SDK sleeps 10 s between two looks at the log, and asks for the status of a job when its clock has gone on by
    30 s.
    """

    def __init__(self) -> None:
        self._ahead = 0.0  # seconds that this clock is ahead of the real one

    def time(self) -> float:
        """Return the seconds of the epoch, as if the sleeps had been as long as they were asked to be."""
        return time.time() + self._ahead

    def sleep(self, seconds: float) -> None:
        """Sleep half a second at most."""
        super().sleep(seconds)
        self._ahead += max(0.0, seconds - _POLLING_SECONDS)


def sleep_short(module: Any) -> None:
    """Let a module of the SDK sleep half a second at most."""
    module.time = ShortSleep()


def poll_fast(module: Any) -> None:
    """Let a module of the SDK poll twice a second. A wait with a timeout keeps the real clock."""
    fast, follow_logs = FastTime(), getattr(module, "_logs_for_job", None)
    module.time = fast
    if follow_logs is None:
        return

    def follow_logs_with_timeout(*values: Any, **named: Any) -> Any:
        if named.get("timeout") or values[5:6] not in ((), (None,)):
            module.time = time
        try:
            return follow_logs(*values, **named)
        finally:
            module.time = fast

    module._logs_for_job = follow_logs_with_timeout


_REPLACED = {
    "sts_regional_endpoint": service_endpoint,
    "sagemaker_short_timestamp": timestamp_with_seconds,
    "_requests_helper": send_nothing,
}


def change(module: ModuleType) -> None:
    """Change what a module of the SDK has of the names above, its own or imported ones."""
    for name, function in _REPLACED.items():
        if callable(getattr(module, name, None)):
            setattr(module, name, function)
    constant, metadata = "NOTEBOOK_METADATA_FILE", os.environ.get(_METADATA, "")
    path = getattr(module, constant, None)
    if metadata and isinstance(path, str) and path.endswith(".json") and not os.path.exists(path):
        setattr(module, constant, metadata)
    if os.environ.get(_FAST_POLLING) == "1" and hasattr(module, "time"):
        if module.__name__ in _POLLING_MODULES:
            poll_fast(module)
        elif module.__name__ in _WAITING_MODULES:
            sleep_short(module)


class SdkFinder:
    """Finder that lets other finders find modules of the SDK, and changes them after they were executed."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        """Return the spec of a module of the SDK, None for any other."""
        if name.partition(".")[0] not in ("sagemaker", "sagemaker_core"):
            return None
        for finder in sys.meta_path:
            if finder is not self and hasattr(finder, "find_spec"):
                spec = finder.find_spec(name, path, target)
                if spec is not None:
                    _change_after_execution(spec)
                    return spec
        return None


def _change_after_execution(spec: Any) -> None:
    loader = spec.loader
    execute = getattr(loader, "exec_module", None)
    if execute is None:  # a namespace package
        return

    def exec_module(module: ModuleType) -> None:
        execute(module)
        if module.__name__ == spec.name:
            change(module)

    try:
        loader.exec_module = exec_module
    except AttributeError:  # a loader whose attributes cannot be set
        return


def install() -> None:
    """Change modules of the SDK that are imported already, and those that will be."""
    if not os.environ.get(_URL) or any(type(finder).__name__ == "SdkFinder" for finder in sys.meta_path):
        return
    sys.meta_path.insert(0, SdkFinder())
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] in ("sagemaker", "sagemaker_core") and module is not None:
            change(module)


def run_next_sitecustomize() -> None:
    """Run the sitecustomize that this file hides."""
    folder = os.path.realpath(os.path.dirname(__file__))
    others = [path for path in sys.path if os.path.realpath(path or os.curdir) != folder]
    spec = importlib.machinery.PathFinder.find_spec("sitecustomize", others)
    if spec is None or spec.loader is None:
        return
    module = importlib.util.module_from_spec(spec)
    sys.modules["sitecustomize"] = module
    spec.loader.exec_module(module)


if __name__ == "sitecustomize":
    install()
    run_next_sitecustomize()
