"""The network of a bundle as onnxruntime has optimised it for this machine, kept for the next start.

onnxruntime folds and reorders weights at each start, which takes longer than all the rest, and holds them in memory
of its own. The optimised network is written once, with the weights in a file of their own: later starts map that file
into memory, so that workers of one machine share it, and nothing is folded again. Results are the same.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import shutil
import tempfile
from pathlib import Path

from clearsight.core.errors import ClearsightError
from clearsight.core.files import read_json, sha256, write_json
from clearsight.core.machine import import_onnxruntime, instruction_set
from clearsight.serving.runtimes.onnx import OPTIMIZED, open_session

LOG = logging.getLogger(__name__)

_WEIGHTS, _DIGESTS = "network.weights", "digests.json"
_MOST = 8  # networks in the cache; the ones that were used last stay


def optimized_file(path: Path, digest: str, cache: Path) -> Path:
    """Return the file of the network optimised for this machine, which is made where it is not in the cache.

    digest: sha256 of the ONNX file `path`.  cache: folder of such networks.  Returns `path` itself where the cache
    cannot be written; then the log says why.
    """
    version = import_onnxruntime().__version__
    key = hashlib.sha256("\n".join((digest, version, instruction_set())).encode()).hexdigest()[:32]
    entry = cache / key
    try:
        if _is_whole(entry):
            os.utime(entry)
        else:
            _write(path, entry)
            _drop_oldest(cache)
    except (OSError, ClearsightError) as error:
        LOG.warning("the optimised network cannot be kept in %s (%s)", cache, error)
        return path
    return entry / OPTIMIZED


def _is_whole(entry: Path) -> bool:
    """Return True for an entry whose files are those that were written."""
    if not (entry / _DIGESTS).is_file():
        return False
    digests = read_json(entry / _DIGESTS)
    return all((entry / name).is_file() and sha256(entry / name) == digest for name, digest in digests.items())


def _write(path: Path, entry: Path) -> None:
    entry.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    part = Path(tempfile.mkdtemp(prefix="part-", dir=entry.parent))
    try:
        _optimize(path, part)
        write_json(part / _DIGESTS, {file.name: sha256(file) for file in part.iterdir()})
        shutil.rmtree(entry, ignore_errors=True)  # a damaged one
        with contextlib.suppress(FileExistsError):  # another worker was faster
            part.rename(entry)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _optimize(path: Path, folder: Path) -> None:
    options = import_onnxruntime().SessionOptions()
    options.log_severity_level = 3  # a warning says that the file is for this machine alone, as it is meant to be
    options.optimized_model_filepath = str(folder / OPTIMIZED)
    options.add_session_config_entry("session.optimized_model_external_initializers_file_name", _WEIGHTS)
    options.add_session_config_entry("session.optimized_model_external_initializers_min_size_in_bytes", "1024")
    open_session(path, options)


def _drop_oldest(cache: Path) -> None:
    entries = sorted((entry for entry in cache.iterdir() if entry.is_dir()), key=lambda entry: entry.stat().st_mtime)
    for entry in entries[:-_MOST]:
        shutil.rmtree(entry, ignore_errors=True)
