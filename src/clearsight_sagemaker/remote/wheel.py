"""The wheel of the clearsight that runs here, made of its own files, so that a container runs the same code."""

from __future__ import annotations

import base64
import hashlib
import importlib.metadata
import io
import zipfile
from pathlib import Path

import clearsight

# Its tests of the environment and the local service are no part of what a container runs.
_TAG = "py3-none-any"
_EPOCH = (1980, 1, 1, 0, 0, 0)  # equal sources make equal bytes


def wheel_name() -> str:
    """Return the file name of the wheel."""
    return f"clearsight-{clearsight.__version__}-{_TAG}.whl"


def wheel_bytes() -> bytes:
    """Return the wheel of the package `clearsight` as it is imported here; the same files give the same bytes."""
    package = Path(clearsight.__file__).parent
    facts = f"clearsight-{clearsight.__version__}.dist-info"
    metadata = importlib.metadata.distribution("clearsight").read_text("METADATA") or ""
    wheel = f"Wheel-Version: 1.0\nGenerator: clearsight\nRoot-Is-Purelib: true\nTag: {_TAG}\n"
    members = {path.relative_to(package.parent).as_posix(): path.read_bytes() for path in _files(package)}
    entry_points = "[console_scripts]\nclearsight = clearsight.cli:main\n"
    for name, text in (("METADATA", metadata), ("WHEEL", wheel), ("entry_points.txt", entry_points)):
        members[f"{facts}/{name}"] = text.encode()
    record = "".join(f"{name},sha256={_digest(body)},{len(body)}\n" for name, body in members.items())
    members[f"{facts}/RECORD"] = f"{record}{facts}/RECORD,,\n".encode()
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            info = zipfile.ZipInfo(name, _EPOCH)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = 0o644 << 16
            archive.writestr(info, content)
    return body.getvalue()


def _files(package: Path) -> list[Path]:
    return sorted(path for path in package.rglob("*") if path.is_file() and "__pycache__" not in path.parts)


def _digest(body: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(body).digest()).rstrip(b"=").decode()
