"""Bundle: one folder (or .tar.gz) that holds all it takes to serve exactly what was trained.

bundle.json            manifest, written last: its presence means that the bundle is whole
model.safetensors      weights
model.onnx             the same network for serving without torch
code/inference.py      entry points for SageMaker-style containers
model.int8.onnx, ...   exported models, each with the figures of its gate in bundle.json
machines.json          the fastest of them on each machine that measured them; no part of what is sealed and packed
"""

from __future__ import annotations

import gzip
import shutil
import tarfile
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, TypeAlias

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, FiniteFloat, ValidationError, field_validator

from clearsight.core.dataset import ClassMap
from clearsight.core.errors import BadBundle, BadData, NotFound
from clearsight.core.exports import ExportedModel
from clearsight.core.files import atomic, read_json, sha256, stays_inside, unpack, write_json
from clearsight.core.format import several
from clearsight.core.preprocess import Preprocess
from clearsight.core.records import first_problem

MANIFEST = "bundle.json"
MACHINES = "machines.json"  # differs from machine to machine, so it is neither sealed nor packed
FORMAT = 2  # raise it when an older clearsight would read a bundle wrongly; see Bundle.seal

_WEIGHTS, _ONNX = "model.safetensors", "model.onnx"

Name: TypeAlias = Annotated[str, Field(min_length=1)]
Width: TypeAlias = Annotated[int, Field(ge=1, le=1 << 20)]
Digest: TypeAlias = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


def _complete(calibration: dict[str, float]) -> dict[str, float]:
    missing = [key for key in ("images", "errors") if calibration and calibration.get(key, -1) < 0]
    if missing:
        raise ValueError(f"{missing[0]} must be a number of images")
    return calibration


CalibrationFacts: TypeAlias = Annotated[dict[str, FiniteFloat], AfterValidator(_complete)]  # {} where there is none


class Bundle(BaseModel):
    """Manifest of a bundle; `path` is the folder of its files.

    model: its name in the model zoo.  head, dropout: widths and dropout of its head, so that the weights fit.
    temperature: divides the logits before the softmax (1 for no calibration); see core.probabilities.calibrated.
    calibration: validation images and errors that the temperature was fitted on, their loss before and after, and the
        confidences from which on a temperature below 1 is used.
    exports: further forms of the network, by the name that `--runtime` takes.
    files: SHA-256 of every other file, by name.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = Field(default=1, ge=1, strict=True)
    model: Name
    head: tuple[Width, ...] = ()
    dropout: float = Field(default=0.0, ge=0, lt=1)
    classes: tuple[Name, ...] = Field(min_length=1)
    preprocess: Preprocess
    temperature: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    calibration: CalibrationFacts = {}
    recipe: dict[str, Any] = {}
    data: dict[str, Any] = {}
    scores: dict[str, Any] = {}
    versions: dict[str, str] = {}
    exports: dict[str, ExportedModel] = {}
    files: dict[str, Digest] = {}
    path: Path = Path()  # not in the manifest: a bundle may be moved

    @field_validator("classes")
    @classmethod
    def _distinct(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        repeated = next((name for name, count in Counter(names).items() if count > 1), None)
        if repeated is not None:
            raise ValueError(f"the name {repeated[:80]!r} occurs twice")
        return names

    @field_validator("files")
    @classmethod
    def _inside(cls, files: dict[str, str]) -> dict[str, str]:
        for name in files:
            # A name in a second spelling, "./model.onnx", would hide that the first is missing.
            if not stays_inside(name) or PurePosixPath(name).as_posix() != name or name == MANIFEST:
                raise ValueError(f"{name[:80]!r} is no name of a file in the bundle")
        return files

    @field_validator("exports")
    @classmethod
    def _named(cls, exports: dict[str, ExportedModel]) -> dict[str, ExportedModel]:
        for name, exported in exports.items():
            if name != exported.name:
                raise ValueError(f"{name[:80]!r} must be {exported.name!r}")
        return exports

    @property
    def class_map(self) -> ClassMap:
        return ClassMap(self.classes)

    @property
    def weights(self) -> Path:
        return self.path / _WEIGHTS

    @property
    def onnx(self) -> Path:
        """Return the path of the ONNX file; it may be missing."""
        return self.path / _ONNX

    @property
    def has_onnx(self) -> bool:
        """Return True where there is an ONNX file that the manifest lists; any other was cut short, or is foreign."""
        return _ONNX in self.files and self.onnx.is_file()

    def seal(self, folder: Path) -> Bundle:
        """Write the manifest of the files in `folder`; it is written last, so its presence means a complete bundle."""
        # Without hidden files: they are unfinished writes, or a desktop's own.
        names = sorted(
            p
            for p in folder.rglob("*")
            if p.is_file() and p.name not in (MANIFEST, MACHINES) and not p.name.startswith(".")
        )
        files = {p.relative_to(folder).as_posix(): sha256(p) for p in names}
        return self.model_copy(update={"path": folder})._with_manifest(files, self.exports)

    def publish(self, exported: ExportedModel, folder: Path) -> Bundle:
        """Move the files of an exported model from `folder` into the bundle; return the bundle that lists it."""
        others = {name: each for name, each in self.exports.items() if name != exported.name}
        remaining = {name: digest for name, digest in self.files.items() if name not in exported.files}
        if remaining != self.files:
            # Unlisted first: a kill while they are replaced must leave no file with another digest than the manifest.
            self._with_manifest(remaining, others)
        for name in exported.files:
            with atomic(self.path / name) as part:
                shutil.copyfile(folder / name, part)
        digests = {name: sha256(self.path / name) for name in exported.files}
        files = dict(sorted({**remaining, **digests}.items()))
        return self._with_manifest(files, {**others, exported.name: exported})

    def _with_manifest(self, files: dict[str, str], exports: dict[str, ExportedModel]) -> Bundle:
        """Write the manifest of this bundle with other files; return the bundle that it describes.

        A bundle without exported models is written as before there were any, so that older versions read it.
        """
        sealed = self.model_copy(update={"format": FORMAT if exports else 1, "files": files, "exports": exports})
        left_out = {"path"} if exports else {"path", "exports"}
        write_json(self.path / MANIFEST, sealed.model_dump(mode="json", exclude=left_out))
        return sealed

    @classmethod
    def open(cls, folder: Path) -> Bundle:
        """Return the bundle in `folder` (or in model/ of a run), its files checked against the manifest.

        Raises NotFound when there is nothing, BadBundle when it is incomplete, damaged or from a newer clearsight.
        """
        bundle = cls.describe(folder)
        bundle._check_files()
        return bundle

    @classmethod
    def describe(cls, folder: Path) -> Bundle:
        """Return the bundle in `folder` by its manifest alone, for those who read none of its files.

        Raises NotFound when there is nothing, BadBundle when the manifest is damaged or from a newer clearsight.
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
        return cls._parse(manifest, folder)

    @classmethod
    def _parse(cls, manifest: object, folder: Path) -> Bundle:
        if not isinstance(manifest, dict):
            raise BadBundle(str(folder), "its manifest is damaged (it must be a JSON object)")
        # Before validation: an unknown field of a newer format would read like damage.
        if isinstance(manifest.get("format"), int) and manifest["format"] > FORMAT:
            raise BadBundle(
                str(folder), f"it has format {manifest['format']}, this clearsight reads {FORMAT}", fix="Upgrade."
            )
        if "path" in manifest:
            raise BadBundle(str(folder), "its manifest is damaged (path: it is none of its fields)")
        try:
            return cls.model_validate({**manifest, "path": folder})
        except ValidationError as error:
            raise BadBundle(str(folder), f"its manifest is damaged ({first_problem(error)})") from None

    def _check_files(self) -> None:
        """Raise BadBundle unless every listed file is there unchanged, and every file that is read is listed."""

        def is_unchanged(item: tuple[str, str]) -> bool:
            path, digest = self.path / item[0], item[1]
            return path.is_file() and sha256(path) == digest

        with ThreadPoolExecutor(2) as threads:  # digests of large files are most of a server's start
            for name, unchanged in zip(self.files, threads.map(is_unchanged, self.files.items()), strict=True):
                if not unchanged:
                    raise BadBundle(str(self.path), f"{name} is missing or was changed")
        # A file without a digest could be anybody's; model.onnx without one is left out, as `has_onnx` says.
        if _WEIGHTS not in self.files and (not self.has_onnx or self.weights.exists()):
            raise BadBundle(str(self.path), f"its manifest does not list {_WEIGHTS}", fix="Train or export it again.")
        unlisted = [name for exported in self.exports.values() for name in exported.files if name not in self.files]
        if unlisted:
            raise BadBundle(str(self.path), f"its manifest does not list {unlisted[0]}", fix="Export the model again.")

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
    if calibration.get("may_be_trained"):
        return f"not calibrated: the weights may have been trained on the {source}"
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
