"""FolderSync: uploads what appears in a folder of a job while the job runs, and restores it before the job begins."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from clearsight.core.files import stays_inside
from clearsight_sagemaker.training.objects import STORE_ERRORS, Objects, join_uri, split_uri

_EVERY = 1.0  # seconds between checks of the folders, more where a check takes long
_UNFINISHED = (".tmp", ".part")  # ends of the names of files that are being written


class FolderSync:
    """A folder and the address to which its files are uploaded. A file that is removed stays an object.

    While the job runs, a file is uploaded when it has not changed between two checks, so that no half-written file
    becomes an object; `finish` uploads the rest.
    """

    def __init__(self, folder: Path, uri: str, objects: Objects) -> None:
        self.folder, self.uri = folder, uri
        self._objects = objects
        self._uploaded: dict[str, tuple[int, int]] = {}
        self._seen: dict[str, tuple[int, int]] = {}

    def restore(self) -> int:
        """Put the objects at the address into the folder; return their number. Raises S3Error, OSError."""
        bucket, prefix = split_uri(join_uri(self.uri, ""))
        count = 0
        for stored in self._objects.keys(f"s3://{bucket}/{prefix}"):
            name = stored.key.removeprefix(prefix)
            if not name or not stays_inside(name) or name.endswith("/"):
                continue
            target = self.folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            with self._objects.opened(f"s3://{bucket}/{stored.key}") as (_, source), target.open("wb") as copy:
                shutil.copyfileobj(source, copy, 1 << 20)
            self._uploaded[name] = _state(target.stat())
            count += 1
        return count

    def upload_unchanged(self) -> None:
        """Upload the new files that have not changed since the last call."""
        for name, state in self._changed():
            if self._seen.get(name) == state and not name.endswith(_UNFINISHED):
                self._upload(name, state)
            self._seen[name] = state

    def finish(self, *, unfinished: bool = False) -> None:
        """Upload all files that have changed. Raises S3Error, OSError.

        unfinished: True for those as well whose names say that they are being written.
        """
        for name, state in self._changed():
            if unfinished or not name.endswith(_UNFINISHED):
                self._upload(name, state)

    def _changed(self) -> Iterator[tuple[str, tuple[int, int]]]:
        for parent, _, names in os.walk(self.folder):
            for file in names:
                path = Path(parent, file)
                if path.is_symlink() or not path.is_file():
                    continue
                try:
                    state = _state(path.stat())
                except FileNotFoundError:  # removed meanwhile
                    continue
                name = path.relative_to(self.folder).as_posix()
                if self._uploaded.get(name) != state:
                    yield name, state

    def _upload(self, name: str, state: tuple[int, int]) -> None:
        try:
            self._objects.upload(self.folder / name, join_uri(self.uri, name))
        except FileNotFoundError:  # removed meanwhile
            return
        self._uploaded[name] = state


class SyncThread:
    """Thread that keeps folders uploaded while a job runs. warn: takes a sentence, once for each problem."""

    def __init__(self, folders: list[FolderSync], warn: Callable[[str], None]) -> None:
        self._folders, self._warn = folders, warn
        self._end = threading.Event()
        self._problems: set[str] = set()
        self._thread = threading.Thread(target=self._run, name="uploads", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        pause = _EVERY
        while not self._end.wait(pause):
            start = time.monotonic()
            for folder in self._folders:
                try:
                    folder.upload_unchanged()
                except STORE_ERRORS as error:  # tried again, and at the end of the job at the latest
                    problem = f"{folder.uri}: a file is not uploaded yet ({error})."
                    if problem not in self._problems:
                        self._problems.add(problem)
                        self._warn(problem)
            pause = max(_EVERY, 5 * (time.monotonic() - start))

    def stop(self) -> None:
        """End the thread; the folders can then be finished."""
        self._end.set()
        self._thread.join()


def _state(status: os.stat_result) -> tuple[int, int]:
    return status.st_size, status.st_mtime_ns
