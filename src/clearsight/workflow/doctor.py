"""doctor: facts about this machine, and one line of advice for each problem."""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from clearsight.core.errors import ClearsightError
from clearsight.core.machine import cores, hardware, installed, versions
from clearsight.models.weights_file import files_in
from clearsight.workflow.paths import Paths

EXTRAS = {  # extra of clearsight -> what it is for
    "openvino": "frozen networks are computed twice as fast; serve --runtime openvino",
    "int8": "export --to openvino --quantize int8",
    "parquet": "datasets in Parquet files",
    "tensorboard": "debug export --tensorboard",
    "lightning": "the debugger in a Lightning Trainer",
    "huggingface": "the debugger in a Hugging Face Trainer",
    "dashboard": "optuna-dashboard on the studies of clearsight tune",
    "ray": "tune --on ray",
    "ray-serve": "deploy --on ray",
    "sagemaker": "clearsight sagemaker: programs for SageMaker on this machine",
}
CHECKS = "clearsight.checks"
_PACKAGES = ("clearsight", "torch", "torchvision", "timm", "numpy", "pillow", "onnx", "onnxruntime", "scikit-learn")
_LITTLE_DISK = 5 << 30  # bytes: checkpoints and features of one long run
_LITTLE_SHARED = 256 << 20  # bytes: Docker gives 64 MiB unless told otherwise


@dataclass(frozen=True, kw_only=True)
class DoctorReport:
    """Facts about the machine; amounts of memory and disk in bytes. checks: sentences of other packages, by name."""

    versions: dict[str, str]
    hardware: dict[str, Any]
    memory: dict[str, int]
    devices: list[str]
    threads: dict[str, int]
    disk: dict[str, int]
    shared_memory: int | None
    extras: dict[str, str | None]
    purposes: dict[str, str]
    cache: str
    weights: list[dict[str, Any]]
    checks: dict[str, str]
    advice: list[str]

    def to_json(self) -> dict[str, Any]:
        """Return the shape of `clearsight doctor --json`."""
        return asdict(self)


def doctor(paths: Paths, folder: Path, environ_threads: str | None = None) -> DoctorReport:
    """Check the machine, the disk under `folder` and the caches at `paths`; environ_threads: $OMP_NUM_THREADS."""
    import psutil
    import torch

    memory = psutil.virtual_memory()
    gpus = range(torch.cuda.device_count() if torch.cuda.is_available() else 0)
    shared = Path("/dev/shm")
    report = DoctorReport(
        versions=versions(_PACKAGES),
        hardware=hardware(),
        memory={"total": memory.total, "available": memory.available},
        devices=["cpu", *(f"cuda:{i} {torch.cuda.get_device_name(i)}" for i in gpus)],
        threads={"cores": cores(), "torch": torch.get_num_threads()},
        disk={"here": shutil.disk_usage(folder).free, "cache": _free(paths.cache)},
        shared_memory=shutil.disk_usage(shared).free if shared.is_dir() else None,
        extras=installed_extras(),
        purposes=EXTRAS,
        cache=str(paths.cache),
        weights=[_weights(folder) for folder in paths.weights],
        checks=further_checks(),
        advice=[],
    )
    gpu = Path("/dev/nvidia0").exists()  # the driver's own file: independent of torch and CUDA
    return replace(report, advice=advice(report, environ_threads, gpu_in_machine=gpu))


def _free(cache: Path) -> int:
    """Return the free bytes of the disk of the cache, 0 where none can be written."""
    for path in (cache, *cache.parents):  # it is made at its first use; its disk exists already
        try:
            free = shutil.disk_usage(path).free
            return free if os.access(path, os.W_OK) else 0
        except OSError:
            continue  # not there, or in a folder that cannot be read
    return 0


def installed_extras() -> dict[str, str | None]:
    """Return the installed version of each extra's first package, None where one of its packages is missing."""
    return {
        extra: found[0] if (found := [installed(package) for package in packages]) and all(found) else None
        for extra, packages in extra_packages().items()
    }


def further_checks() -> dict[str, str]:
    """Return what packages beside clearsight say about the machine.

    Each has an entry point of the group clearsight.checks, a function that returns a sentence.
    """
    found = {}
    for point in importlib.metadata.entry_points(group=CHECKS):
        try:
            found[point.name] = str(point.load()())
        except (ImportError, OSError, ClearsightError) as error:  # an extra that is missing, a folder without a place
            found[point.name] = f"cannot be checked ({error})"
    return found


def extra_packages(distribution: str = "clearsight") -> dict[str, list[str]]:
    """Return the packages of each extra of a distribution, as its metadata declare them; those of developers apart."""
    found: dict[str, list[str]] = {extra: [] for extra in EXTRAS}
    for requirement in importlib.metadata.requires(distribution) or ():
        needed, _, marker = requirement.partition(";")
        extra = re.search(r"""extra\s*==\s*['"]([\w-]+)['"]""", marker)
        if extra is not None and extra[1] in found:
            found[extra[1]].append(re.split(r"[^\w.-]", needed.strip())[0])
    return found


def _weights(folder: Path) -> dict[str, Any]:
    files = [path.name for path in files_in(folder) if path.suffix in (".safetensors", ".pth", ".pt")]
    return {"folder": str(folder), "exists": bool(files) or os.access(folder, os.R_OK), "files": files}


def advice(report: DoctorReport, environ_threads: str | None, *, gpu_in_machine: bool) -> list[str]:
    """Return one line for each problem; environ_threads: the value of $OMP_NUM_THREADS."""
    lines = []
    if report.threads["torch"] > report.threads["cores"]:  # inside a container torch sees the host's cores
        setting = f" (OMP_NUM_THREADS={environ_threads})" if environ_threads else ""
        lines.append(
            f"torch uses {report.threads['torch']} threads on {report.threads['cores']} cores{setting}, which can make "
            f"training ten times slower: set OMP_NUM_THREADS={report.threads['cores']}."
        )
    for folder, free in report.disk.items():
        if folder == "cache" and not free:
            lines.append(f"The cache {report.cache} cannot be written to: set CLEARSIGHT_CACHE to another folder.")
        elif free < _LITTLE_DISK:
            place = "in this folder: free some" if folder == "here" else f"under {report.cache}: set CLEARSIGHT_CACHE"
            lines.append(f"Only {free / 2**30:.1f} GiB of disk are free {place} before long runs.")
    if report.shared_memory is not None and report.shared_memory < _LITTLE_SHARED:
        lines.append(
            f"Only {report.shared_memory / 2**20:.0f} MiB of shared memory are free: start the container with "
            "--shm-size=1g if your own data loaders use worker processes."
        )
    if report.extras["openvino"] is None:
        lines.append("Frozen networks run about twice as fast with OpenVINO: pip install 'clearsight[openvino]'.")
    if not any(folder["files"] for folder in report.weights):
        folders = " or ".join(folder["folder"] for folder in report.weights)
        lines.append(f"No pretrained weights on disk: offline, pass --weights FILE or put files into {folders}.")
    if gpu_in_machine and report.devices == ["cpu"]:
        lines.append("The machine has an NVIDIA device that torch cannot use: check the driver with nvidia-smi.")
    return lines
