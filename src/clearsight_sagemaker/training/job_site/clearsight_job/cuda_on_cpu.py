"""Device "cuda" on a machine without a GPU: the CPU, for scripts that name the device of their instance type."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from typing import Any

_REPORTED = "CLEARSIGHT_JOB_CUDA_REPORTED"  # variable by which the processes of a script say it once


def install(torch: Any, instance: str) -> None:
    """Map the device "cuda" to the CPU in all threads, unless the machine has a GPU; say so in the log."""
    if torch.cuda.is_available():
        return
    if _REPORTED not in os.environ:
        os.environ[_REPORTED] = "1"
        text = f'instance type {instance} has a GPU, and this machine has none: device "cuda" is the CPU in this job.'
        print(f"clearsight: {text}", file=sys.stderr, flush=True)
    mode = _mode_class(torch)
    mode().__enter__()
    _enter_in_threads(mode)
    for name in ("synchronize", "set_device", "reset_peak_memory_stats"):
        setattr(torch.cuda, name, _without_effect(getattr(torch.cuda, name)))
    torch.load = _mapped_load(torch, torch.load)


def _mode_class(torch: Any) -> type:
    cpu = torch.device("cpu")
    same = {torch.Tensor.cuda, torch.Tensor.pin_memory}

    def mapped(value: Any) -> Any:
        if isinstance(value, str) and (value == "cuda" or value.startswith("cuda:")):
            return "cpu"
        return cpu if isinstance(value, torch.device) and value.type == "cuda" else value

    class CudaOnCpu(torch.overrides.TorchFunctionMode):  # type: ignore[misc]
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if func in same:
                return args[0]
            if func == torch.Tensor.to and len(args) > 1 and type(args[1]) is int:
                args = (args[0], cpu, *args[2:])
            return func(
                *(mapped(value) for value in args), **{name: mapped(value) for name, value in (kwargs or {}).items()}
            )

    return CudaOnCpu


def _enter_in_threads(mode: type) -> None:
    # The modes of torch belong to a thread.
    import threading

    run = threading.Thread.run

    @functools.wraps(run)
    def run_in_mode(thread: threading.Thread) -> None:
        with mode():
            run(thread)

    threading.Thread.run = run_in_mode  # type: ignore[method-assign, assignment]


def _mapped_load(torch: Any, load: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(load)
    def load_on_cpu(f: Any, map_location: Any = None, *args: Any, **settings: Any) -> Any:
        device = str(map_location) if isinstance(map_location, str | torch.device) else ""
        return load(f, "cpu" if map_location is None or device.startswith("cuda") else map_location, *args, **settings)

    return load_on_cpu


def _without_effect(function: Callable[..., Any]) -> Callable[..., None]:
    """Return a function of the same name that does nothing. torch's compiler needs one object for each name."""

    @functools.wraps(function)
    def without_effect(*_: object, **__: object) -> None:
        """Do nothing: there is no device to act on."""

    return without_effect
