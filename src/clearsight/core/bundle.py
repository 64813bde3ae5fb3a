"""Bundle: one folder (or .tar.gz) that holds all it takes to serve exactly what was trained.

bundle.json            manifest, written last: its presence means that the bundle is whole
model.safetensors      weights
model.onnx             the same network for serving without torch
code/inference.py      entry points for SageMaker-style containers
"""

from __future__ import annotations

import gzip
import shutil
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from clearsight.core.dataset import ClassMap
from clearsight.core.errors import BadBundle, BadData, NotFound
from clearsight.core.files import atomic, read_json, sha256, unpack, write_json
from clearsight.core.format import several
from clearsight.core.preprocess import Preprocess

MANIFEST = "bundle.json"
FORMAT = 1  # raise it when an older clearsight would read a bundle wrongly


class Bundle(BaseModel):
    """Manifest of a bundle; `path` is the folder of its files.

    model: its name in the model zoo.  head, dropout: widths and dropout of its head, so that the weights fit.
    temperature: divides the logits before the softmax (1 for no calibration); see core.probabilities.calibrated.
    calibration: validation images and errors that the temperature was fitted on, their loss before and after, and the
        confidences from which on a temperature below 1 is used.
    files: SHA-256 of every other file, by name.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = FORMAT
    model: str
    head: tuple[int, ...] = ()
    dropout: float = 0.0
    classes: tuple[str, ...]
    preprocess: Preprocess
    temperature: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    calibration: dict[str, float] = {}
    recipe: dict[str, Any] = {}
    data: dict[str, Any] = {}
    scores: dict[str, Any] = {}
    versions: dict[str, str] = {}
    files: dict[str, str] = {}
    path: Path = Path()  # not in the manifest: a bundle may be moved

    @property
    def class_map(self) -> ClassMap:
        return ClassMap(self.classes)

    @property
    def weights(self) -> Path:
        return self.path / "model.safetensors"

    @property
    def onnx(self) -> Path:
        """Return the path of the ONNX file; it may be missing."""
        return self.path / "model.onnx"

    def seal(self, folder: Path) -> Bundle:
        """Write the manifest of the files in `folder`; it is written last, so its presence means a complete bundle."""
        # Without hidden files: they are unfinished writes, or a desktop's own.
        names = sorted(
            p for p in folder.rglob("*") if p.is_file() and p.name != MANIFEST and not p.name.startswith(".")
        )
        files = {p.relative_to(folder).as_posix(): sha256(p) for p in names}
        sealed = self.model_copy(update={"files": files, "path": folder})
        write_json(folder / MANIFEST, sealed.model_dump(mode="json", exclude={"path"}))
        return sealed

    @classmethod
    def open(cls, folder: Path) -> Bundle:
        """Return the bundle in `folder` (or in model/ of a run), its files checked against the manifest.

        Raises NotFound when there is nothing, BadBundle when it is incomplete, damaged or from a newer clearsight.
        """
        if not folder.exists():
            raise NotFound(str(folder), "there is no run or bundle of that name")
        inner = folder / "model"  # a run folder holds its bundle there
        if not (folder / MANIFEST).is_file() and (inner / MANIFEST).is_file():
            folder = inner
        if not (folder / MANIFEST).is_file():
            raise BadBundle(str(folder), f"it is not a bundle or a finished run: {MANIFEST} is missing")
        try:
            manifest = read_json(folder / MANIFEST)
        except BadData as error:
            raise BadBundle(str(folder / MANIFEST), error.problem, fix="Export or train the model again.") from error
        # Before validation: an unknown field of a newer format would read like damage.
        if manifest.get("format", 0) > FORMAT:
            raise BadBundle(
                str(folder), f"it has format {manifest['format']}, this clearsight reads {FORMAT}", fix="Upgrade."
            )
        try:
            bundle = cls.model_validate({**manifest, "path": folder})
        except ValidationError as error:
            first = error.errors()[0]
            problem = f"its manifest is damaged ({'.'.join(map(str, first['loc']))}: {first['msg']})"
            raise BadBundle(str(folder), problem) from None
        for name, digest in bundle.files.items():
            if not (folder / name).is_file() or sha256(folder / name) != digest:
                raise BadBundle(str(folder), f"{name} is missing or was changed")
        return bundle

    def pack(self, archive: Path) -> Path:
        """Write the bundle as `archive` (.tar.gz, members without a leading folder); equal bundles give equal bytes."""
        with (
            atomic(archive) as part,
            part.open("wb") as raw,
            gzip.GzipFile(fileobj=raw, mode="wb", filename="", mtime=0) as squeezed,  # no name and no time in it
            tarfile.open(fileobj=squeezed, mode="w", format=tarfile.PAX_FORMAT) as tar,
        ):
            for name in [*self.files, MANIFEST]:
                info = tar.gettarinfo(self.path / name, arcname=name)
                # Neither owner nor time, so that a digest of the archive tells whether the model changed.
                info.uid = info.gid = 0
                info.uname = info.gname = ""
                info.mtime = 0
                with (self.path / name).open("rb") as stream:
                    tar.addfile(info, stream)
        return archive


def calibration_text(temperature: float, calibration: Mapping[str, float]) -> str:
    """Return how probabilities were calibrated: the temperature, and the number of images that it comes from.

    calibration: that of a bundle; {} without validation images.
    """
    if not calibration:
        return (
            "not calibrated: there were no validation images" if temperature == 1 else f"temperature {temperature:.3g}"
        )
    images, errors = int(calibration["images"]), int(calibration["errors"])
    source = several(images, "validation image")
    if temperature != 1:
        return f"temperature {temperature:.3g}, from {source} with {several(errors, 'error')}"
    if not errors:
        return f"not calibrated: {source} without an error"
    return f"not calibrated: {source} with {several(errors, 'error')} agree with the network's own probabilities"


@contextmanager
def open_bundle(path: Path) -> Iterator[Bundle]:
    """Open the bundle at `path`: a run folder, a bundle folder, or an archive (unpacked for the duration)."""
    if not path.is_file():
        yield Bundle.open(path)
        return
    folder = Path(tempfile.mkdtemp(prefix="clearsight-bundle-"))
    try:
        unpack(path, folder)
        yield open_unpacked(folder, path)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def open_unpacked(folder: Path, archive: Path) -> Bundle:
    """Return the bundle in `folder`, which was unpacked from `archive`; errors name the archive."""
    try:
        return Bundle.open(folder)
    except BadBundle as error:
        raise BadBundle(error.what.replace(str(folder), str(archive)), error.problem, fix=error.fix) from None
