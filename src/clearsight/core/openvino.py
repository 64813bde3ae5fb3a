"""Import of OpenVINO without its telemetry."""

from __future__ import annotations

import importlib
import sys
from typing import Any

_TELEMETRY = "openvino_telemetry"


def import_openvino() -> Any:
    """Return the module `openvino`; raises ModuleNotFoundError without the package.

    Its import sends an event to its makers over the network, from a process that it forks for this. In a process with
    threads that child can wait for a lock forever. Where the telemetry package is missing, openvino sends nothing.
    """
    if sys.modules.get("openvino") is not None:
        return sys.modules["openvino"]
    loaded = sys.modules.get(_TELEMETRY)
    sys.modules[_TELEMETRY] = None  # type: ignore[assignment]  # importing a name whose entry is None is an ImportError
    try:
        return importlib.import_module("openvino")
    finally:
        # Other programs in this process may import it afterwards.
        if loaded is None:
            del sys.modules[_TELEMETRY]
        else:
            sys.modules[_TELEMETRY] = loaded
