"""Outputs: a file of rows or a folder of JSON files, written so that a killed transform can be continued.

Beside the output lies a small JSON file, the sidecar, which is written first: it names the model and the input.
"""

from __future__ import annotations

import os
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar

from clearsight.core.appended_file import AppendedFile
from clearsight.core.errors import BadValue, NotResumable
from clearsight.core.files import atomic, read_json, write_json
from clearsight.core.folder_lock import folder_lock
from clearsight.core.records import read_record
from clearsight.workflow.prepare.inputs import InputImage
from clearsight.workflow.transform.classifiers import Classified
from clearsight.workflow.transform.rows import (
    CsvRows,
    JsonLines,
    RowFormat,
    check_parquet,
    json_bytes,
    parquet_rows,
    response_values,
    write_parquet,
)

_FILES = (".jsonl", ".csv", ".parquet")
_OTHER_FILES = (".json", ".ndjson", ".tsv", ".txt", ".xlsx", ".pq", ".zip", ".tar", ".gz", ".hdf5", ".h5")
_SYNC_SECONDS = 5.0  # of rows that a loss of power may cost
_ANEW = "Name another output, or pass --restart to write this one again."


@dataclass(frozen=True, kw_only=True, slots=True)
class Sidecar:
    """Model and input of an output. model: SHA-256 of the bundle's manifest.  kind, location, stamp: of the input."""

    model: str
    model_name: str
    kind: str
    location: str
    stamp: str = ""
    format: int = 1

    def check(self, earlier: Sidecar, output: Path) -> None:
        """Raise NotResumable unless an output of `earlier` can be continued as one of this."""
        if earlier.model != self.model:
            same = earlier.model_name == self.model_name
            names = "of the same name" if same else f"({earlier.model_name}; this is {self.model_name})"
            problem = f"it is of another model {names}"
        elif (earlier.kind, earlier.location) != (self.kind, self.location):
            problem = f"it is of another input ({earlier.kind} {earlier.location}; this is {self.kind} {self.location})"
        elif earlier.stamp != self.stamp:
            problem = f"its input {self.location} has changed since"
        else:
            return
        raise NotResumable(str(output), problem, fix=_ANEW)


class Output(ABC):
    """Place where outcomes go, in the order of the input. done, errors: images that are written, earlier ones too."""

    if_not_ours: ClassVar[str] = "Name another output, or pass --restart to replace it."

    def __init__(self, path: Path) -> None:
        self.path, self.done, self.errors = path, 0, 0

    @property
    @abstractmethod
    def sidecar(self) -> Path: ...

    @property
    @abstractmethod
    def lock(self) -> Path: ...

    @abstractmethod
    def exists(self) -> bool:
        """Return True if a transform has written something there, or something else is in the way."""

    @abstractmethod
    def remove(self) -> None:
        """Remove what a transform has written; raises NotResumable for what it has not."""

    @abstractmethod
    def remaining(self, images: Iterator[InputImage]) -> Iterator[InputImage]:
        """Yield the images that are not written yet; raises NotResumable where the output is of other images."""

    @abstractmethod
    def write(self, batch: Sequence[Classified]) -> None:
        """Write outcomes. Raises DiskFull; what was written before is whole then."""

    @abstractmethod
    def finish(self) -> None:
        """Complete the output once all images are written."""

    @abstractmethod
    def close(self) -> None:
        """Release what is open; nothing else is needed for a later continuation."""

    def _count(self, *, error: bool) -> None:
        self.done += 1
        self.errors += error

    def check_sidecar(self, sidecar: Sidecar, *, restart: bool) -> None:
        """Write the sidecar of a new output, or check that an earlier one is continued."""
        if restart:
            self.remove()
        elif self.exists():
            if not self.sidecar.is_file():
                problem = "it is there already, and clearsight transform did not write it"
                raise NotResumable(str(self.path), problem, fix=self.if_not_ours)
            earlier = read_record(Sidecar, read_json(self.sidecar), str(self.sidecar))
            sidecar.check(earlier, self.path)
            return
        write_json(self.sidecar, asdict(sidecar))


class RowFile(Output):
    """A .jsonl or .csv file with a row per image."""

    def __init__(self, path: Path, format: RowFormat) -> None:
        super().__init__(path)
        self._format = format
        self._rows_path = path
        self._file: AppendedFile | None = None
        self._synced = time.monotonic()

    @property
    def sidecar(self) -> Path:
        """File beside it."""
        return self.path.with_name(f"{self.path.name}.transform.json")

    @property
    def lock(self) -> Path:
        """Hidden file beside it, while it is written."""
        return self.path.with_name(f".{self.path.name}.lock")

    def exists(self) -> bool:
        """Return True for a file that is not empty."""
        return any(path.is_file() and path.stat().st_size > 0 for path in {self.path, self._rows_path})

    def remove(self) -> None:
        """Remove the file."""
        for path in {self.path, self._rows_path}:
            path.unlink(missing_ok=True)

    def remaining(self, images: Iterator[InputImage]) -> Iterator[InputImage]:
        """Yield the images after the last whole row; the rows before it are compared with the images."""
        self._file = AppendedFile(self._rows_path, self._format.is_whole)
        rows = self._file.records()
        header = self._format.header()
        if header and (first := next(rows, None)) != header:
            if first is not None:
                raise NotResumable(str(self.path), "its first row does not name the classes of this model", fix=_ANEW)
            self._file.append(header)
        for row in rows:
            image = next(images, None)
            start = self._format.start(image.name) if image is not None else b""
            if image is None or not row.startswith(start):
                raise self._other_images(image)
            self._count(error=self._format.is_error(row, start))
        yield from images

    def _other_images(self, image: InputImage | None) -> NotResumable:
        """Return the error for a row that is not of `image`, the next of the input; None after the last one."""
        if image is None:
            problem = f"it has more rows than its input has images now ({self.done:,})"
        else:
            problem = f"its row {self.done + 1:,} is not of {image.name}, the image in that place of its input"
        return NotResumable(str(self.path), problem, fix=_ANEW)

    def write(self, batch: Sequence[Classified]) -> None:
        """Append the rows of a batch at once."""
        assert self._file is not None, "`remaining` opens it"
        self._file.append(b"".join(self._format.row(image.name, outcome) for image, outcome in batch))
        for _, outcome in batch:
            self._count(error=isinstance(outcome, str))
        if time.monotonic() - self._synced > _SYNC_SECONDS:
            self._file.sync()
            self._synced = time.monotonic()

    def finish(self) -> None:
        """Wait until the disk has all rows."""
        if self._file is not None:
            self._file.sync()

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None


class ParquetOutput(RowFile):
    """A .parquet file, made at the end of the .parquet.jsonl beside it, which is removed then."""

    def __init__(self, path: Path, classes: Sequence[str]) -> None:
        super().__init__(path, JsonLines(classes))
        self._rows_path, self._classes = path.with_name(f"{path.name}.jsonl"), classes

    def remaining(self, images: Iterator[InputImage]) -> Iterator[InputImage]:
        """Yield the images that are not in the rows; none of a complete file, which must be of the same images."""
        if self._rows_path.is_file() or not self.exists():
            yield from super().remaining(images)
            return
        for name, error in parquet_rows(self.path):
            image = next(images, None)
            if image is None or image.name != name:
                raise self._other_images(image)
            self._count(error=error)
        if next(images, None) is not None:
            problem = f"it is complete with {self.done:,} rows, and its input has more images now"
            raise NotResumable(str(self.path), problem, fix=_ANEW)

    def finish(self) -> None:
        """Write the Parquet file, then remove the rows."""
        super().finish()
        if self._rows_path.is_file():
            write_parquet(self._rows_path, self.path, self._classes)
            self._rows_path.unlink()


class OutputFolder(Output):
    """A folder with a .out file per image: the JSON that an endpoint answers. file_name: of an image's name."""

    SUFFIX: ClassVar[str] = ".out"
    _ERROR = b'{"error":'
    if_not_ours = "Name another folder."

    def __init__(self, path: Path, classes: Sequence[str], file_name: Callable[[str], str]) -> None:
        super().__init__(path)
        self._classes, self._file_name = classes, file_name

    @property
    def sidecar(self) -> Path:
        """File in the folder."""
        return self.path / "transform.json"

    @property
    def lock(self) -> Path:
        """Hidden file in the folder, while it is written."""
        return self.path / ".transform.lock"

    def exists(self) -> bool:
        """Return True for a folder with a sidecar, or with a .out file of anybody."""
        return self.sidecar.is_file() or next(self._files(), None) is not None

    def remove(self) -> None:
        """Remove the .out files, and no others; raises NotResumable where there is no sidecar beside them."""
        for file in self._files():
            if not self.sidecar.is_file():
                problem = f"{file} is there, and clearsight transform did not write it"
                raise NotResumable(str(self.path), problem, fix=self.if_not_ours)
            file.unlink()

    def remaining(self, images: Iterator[InputImage]) -> Iterator[InputImage]:
        """Yield the images without a file."""
        for image in images:
            try:
                with self._file(image).open("rb") as stream:
                    head = stream.read(len(self._ERROR))
            except FileNotFoundError:
                head = b""
            if head:  # an empty file: a loss of power can leave one
                self._count(error=head == self._ERROR)
            else:
                yield image

    def write(self, batch: Sequence[Classified]) -> None:
        """Write a file per image, each whole or absent."""
        for image, outcome in batch:
            with atomic(self._file(image), sync=False) as part:
                part.write_bytes(json_bytes(response_values(outcome, self._classes)))
            self._count(error=isinstance(outcome, str))

    def finish(self) -> None:
        """Do nothing: each file is complete."""

    def close(self) -> None:
        """Do nothing: no file is open."""

    def _file(self, image: InputImage) -> Path:
        return self.path / (self._file_name(image.name) + self.SUFFIX)

    def _files(self) -> Iterator[Path]:
        for folder, _, names in os.walk(self.path):
            yield from (Path(folder, name) for name in names if name.endswith(self.SUFFIX))


def check_output(path: Path) -> None:
    """Raise BadValue for a file of a kind that is not written, MissingExtra for Parquet without pyarrow."""
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        check_parquet()
    is_folder = path.is_dir() or not (path.exists() or suffix in (*_FILES, *_OTHER_FILES))
    if path.is_dir() and suffix in _FILES:
        raise BadValue(str(path), "it is a folder with the name of a file", fix="Name another output.")
    if not is_folder and suffix not in _FILES:
        raise BadValue(
            str(path), f"files must end in {', '.join(_FILES)}", fix="Or name a folder, for a file per image."
        )


def open_output(path: Path, classes: Sequence[str], file_names: Callable[[], Callable[[str], str]]) -> Output:
    """Return the output that a path means, by its ending; nothing is written.

    file_names: returns the function from the name of an image to that of a file in a folder, without its suffix.
    """
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        return ParquetOutput(path, classes)
    if suffix in _FILES:
        return RowFile(path, CsvRows(classes) if suffix == ".csv" else JsonLines(classes))
    return OutputFolder(path, classes, file_names())


@contextmanager
def writing(output: Output, sidecar: Sidecar, *, restart: bool) -> Iterator[Output]:
    """Hold the output within the block: nobody else writes it, and its sidecar is that of the model and the input."""
    output.lock.parent.mkdir(parents=True, exist_ok=True)
    with folder_lock(output.lock, "output"):
        output.check_sidecar(sidecar, restart=restart)
        try:
            yield output
        finally:
            output.close()
