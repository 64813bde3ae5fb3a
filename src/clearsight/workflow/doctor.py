"""doctor: is this machine ready? Facts, and one line of advice for each problem."""

from __future__ import annotations

import shutil
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from clearsight.core.machine import cores, hardware, installed, versions
from clearsight.workflow.paths import Paths

EXTRAS = {
    "openvino": "openvino",
    "parquet": "pyarrow",
    "tensorboard": "tensorboard",
    "lightning": "lightning",
    "huggingface": "transformers",
}
_PACKAGES = ("clearsight", "torch", "torchvision", "timm", "numpy", "pillow", "onnx", "onnxruntime", "scikit-learn")
_LITTLE_DISK = 5 << 30
_LITTLE_SHARED = 256 << 20


@dataclass(frozen=True, kw_only=True)
class DoctorReport:
    """What was found. bytes where an amount of memory or disk is given."""

    versions: dict[str, str]
    hardware: dict[str, Any]
    memory: dict[str, int]
    devices: list[str]
    threads: dict[str, int]
    disk: dict[str, int]
    shared_memory: int | None
    extras: dict[str, str | None]
    cache: str
    weights: list[dict[str, Any]]
    advice: list[str]

    def to_json(self) -> dict[str, Any]:
        """The shape of `clearsight doctor --json`."""
        return asdict(self)


def doctor(places: Paths, folder: Path, environ_threads: str | None = None) -> DoctorReport:
    """Look at the machine, at the disk under `folder` and at `places`; environ_threads: $OMP_NUM_THREADS."""
    import psutil
    import torch

    memory = psutil.virtual_memory()
    gpus = (
        [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    )
    shared = Path("/dev/shm")
    checkup = DoctorReport(
        versions=versions(_PACKAGES),
        hardware=hardware(),
        memory={"total": memory.total, "available": memory.available},
        devices=["cpu", *(f"cuda:{i} {name}" for i, name in enumerate(gpus))],
        threads={"cores": cores(), "torch": torch.get_num_threads()},
        disk={"here": shutil.disk_usage(folder).free, "cache": shutil.disk_usage(_existing(places.cache)).free},
        shared_memory=shutil.disk_usage(shared).free if shared.is_dir() else None,
        extras={extra: installed(package) for extra, package in EXTRAS.items()},
        cache=str(places.cache),
        weights=[_weights(folder) for folder in places.weights],
        advice=[],
    )
    gpu = Path("/dev/nvidia0").exists()
    return replace(checkup, advice=advice(checkup, environ_threads, gpu_in_machine=gpu))


def _existing(path: Path) -> Path:
    while not path.exists():
        path = path.parent
    return path


def _weights(folder: Path) -> dict[str, Any]:
    found = (
        sorted(p.name for p in folder.glob("*") if p.suffix in (".safetensors", ".pth", ".pt"))
        if folder.is_dir()
        else []
    )
    return {"folder": str(folder), "exists": folder.is_dir(), "files": found}


def advice(found: DoctorReport, environ_threads: str | None, *, gpu_in_machine: bool) -> list[str]:
    """One line for each problem; environ_threads: what $OMP_NUM_THREADS says."""
    lines = []
    if found.threads["torch"] > found.threads["cores"]:
        asked = f" (OMP_NUM_THREADS={environ_threads})" if environ_threads else ""
        lines.append(
            f"torch uses {found.threads['torch']} threads on {found.threads['cores']} cores{asked}, which can cost a "
            f"factor of ten: set OMP_NUM_THREADS={found.threads['cores']}."
        )
    for place, free in found.disk.items():
        if free < _LITTLE_DISK:
            what = "in this folder: free some" if place == "here" else f"under {found.cache}: set CLEARSIGHT_CACHE"
            lines.append(f"Only {free / 2**30:.1f} GiB of disk are free {what} before long runs.")
    if found.shared_memory is not None and found.shared_memory < _LITTLE_SHARED:
        lines.append(
            f"Only {found.shared_memory / 2**20:.0f} MiB of shared memory are free: start the container with "
            "--shm-size=1g if data loaders of your own run in processes."
        )
    if found.extras["openvino"] is None:
        lines.append("Frozen networks run about twice as fast with OpenVINO: pip install 'clearsight[openvino]'.")
    if not any(place["files"] for place in found.weights):
        folders = " or ".join(place["folder"] for place in found.weights)
        lines.append(f"No pretrained weights on disk: offline, pass --weights FILE or put files into {folders}.")
    if gpu_in_machine and found.devices == ["cpu"]:
        lines.append("There is an NVIDIA device but torch cannot use it: check the driver with nvidia-smi.")
    return lines
