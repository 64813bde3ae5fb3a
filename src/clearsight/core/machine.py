"""Processor, cores and installed packages of this machine, and what its threads must share in turn."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from clearsight.core.format import several

# Two libraries report to their makers over the network. The functions below import them so that they do not.
_TELEMETRY = "openvino_telemetry"  # the package by which openvino reports
_NO_REPORTS = "ORT_DISABLE_TELEMETRY"  # the variable that tells onnxruntime not to
_IMPORTING = threading.RLock()

# Held from seeding torch's own generator, of which a process has one, to the last draw from it. Dropout and the
# initialisation of a zoo's layers know no other generator.
TORCH_RANDOM = threading.RLock()


def cores() -> int:
    """Return the number of cores that this process may use: the share of its container or taskset."""
    # macOS has no affinity; cpu_count() alone would start a thread per core of the host inside a small container.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def installed(package: str) -> str | None:
    """Return the installed version of a distribution, without importing it; None if it is not installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def versions(
    # What can change the numbers of a run.
    packages: Iterable[str] = ("clearsight", "torch", "torchvision", "timm", "numpy", "pillow"),
) -> dict[str, str]:
    known = {package: installed(package) for package in packages}
    return {"python": platform.python_version(), **{name: v for name, v in known.items() if v is not None}}


def import_openvino() -> Any:
    """Return the module `openvino`; raises ModuleNotFoundError without the package.

    Its import sends an event to its makers over the network, from a process that it forks for this. In a process with
    threads that child can wait for a lock forever. Where the telemetry package is missing, openvino sends nothing.
    """
    return _import_without_telemetry("openvino")


def import_nncf() -> Any:
    """Return the module `nncf`, which reports by the package of openvino's; raises ModuleNotFoundError without it."""
    import_openvino()
    return _import_without_telemetry("nncf")


def _import_without_telemetry(name: str) -> Any:
    with _IMPORTING:
        if sys.modules.get(name) is not None:
            return sys.modules[name]
        loaded = sys.modules.get(_TELEMETRY)
        sys.modules[_TELEMETRY] = None  # type: ignore[assignment]  # importing a name whose entry is None fails
        try:
            return importlib.import_module(name)
        finally:
            # Other programs in this process may import it afterwards.
            if loaded is None:
                del sys.modules[_TELEMETRY]
            else:
                sys.modules[_TELEMETRY] = loaded


def import_onnxruntime() -> Any:
    """Return the module `onnxruntime`, which then neither looks up hosts nor writes a device id to the user's cache.

    It asks for the variable once, while it is imported. The environment of the process is the same afterwards, and a
    value of the user's stays. Where a program has imported onnxruntime before, that program has decided.
    """
    with _IMPORTING, default_variable(_NO_REPORTS, "1"):
        return importlib.import_module("onnxruntime")


@contextlib.contextmanager
def default_variable(name: str, value: str) -> Iterator[None]:
    """Set an environment variable within the block, unless it is set already."""
    if name in os.environ:
        yield
        return
    os.environ[name] = value
    try:
        yield
    finally:
        del os.environ[name]


def process_identity(pid: int | None = None) -> dict[str, Any]:
    """Return host, PID and start of a process, by default this one, which together no other process has; JSON values.

    The start of a process that has ended is "".
    """
    pid = os.getpid() if pid is None else pid
    return {"host": _host(), "pid": pid, "start": _process_start(pid)}


def process_ended(identity: Mapping[str, Any]) -> bool:
    """Return True if the process that `process_identity` described is over, also by kill -9 or a power cut.

    False where this cannot be known: for a process of another machine or container, and for an empty identity.
    """
    pid = identity.get("pid")
    if not isinstance(pid, int) or pid < 1 or identity.get("host") != _host():
        return False
    return _process_start(pid) != identity.get("start")


def _host() -> str:
    # Containers of one host count their processes separately.
    with contextlib.suppress(OSError):
        return f"{platform.node()} {os.readlink('/proc/self/ns/pid')}"
    return platform.node()


def _process_start(pid: int) -> str:
    """Return when a process started, as text that a later process of the same PID does not have; "" for none."""
    if sys.platform == "linux":
        try:
            facts = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
            state, *values = facts.rpartition(")")[2].split()  # in the parentheses: the program, any text at all
            boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        except OSError:
            return ""
        return "" if state in "ZX" else f"{boot} {values[18]}"  # a zombie has ended; clock ticks since boot
    if sys.platform != "win32":  # signal 0 only asks; on Windows it would end the process
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return ""
        except PermissionError:
            return "started"
    return "started"


def hardware() -> dict[str, Any]:
    """Return system, processor and cores. The GPU is left to the callers that have torch loaded."""
    return {"system": f"{platform.system()} {platform.machine()}", "processor": _processor(), "cores": cores()}


def machine_name() -> str:
    """Return the processor and its cores: what speeds that were measured depend on, "AMD EPYC 9B45, 2 cores"."""
    return f"{_processor()}, {several(cores(), 'core')}"


def instruction_set() -> str:
    """Return what decides which machine code this processor can run: its architecture and extensions."""
    return f"{platform.machine()} {_cpu_fact('flags') or _cpu_fact('Features')}".strip()


def _processor() -> str:
    # platform.processor() is empty or only the architecture on most Linux distributions.
    return _cpu_fact("model name") or platform.processor() or "unknown"


def _cpu_fact(name: str) -> str:
    """Return a fact of the first core from /proc/cpuinfo, "" where there is none."""
    if sys.platform == "linux":
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as lines:
            for line in lines:
                if line.partition(":")[0].strip() == name:
                    return line.partition(":")[2].strip()
    return ""
