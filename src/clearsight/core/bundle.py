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
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from clearsight.core.dataset import ClassMap
from clearsight.core.errors import BadBundle, BadData, NotFound
from clearsight.core.files import atomic, read_json, sha256, unpack, write_json
from clearsight.core.preprocess import Preprocess

MANIFEST = "bundle.json"
FORMAT = 1


class Bundle(BaseModel):
    """The manifest of a bundle; `path` is where its files lie.

    model: registry name; head, dropout: how its head was built, so that the weights fit again.
    temperature: divides the logits before the softmax (calibration on the validation split; 1 is none).
    files: name to SHA-256 of every other file in the bundle.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = FORMAT
    model: str
    head: tuple[int, ...] = ()
    dropout: float = 0.0
    classes: tuple[str, ...]
    preprocess: Preprocess
    temperature: float = 1.0
    recipe: dict[str, Any] = {}
    data: dict[str, Any] = {}
    scores: dict[str, Any] = {}
    versions: dict[str, str] = {}
    files: dict[str, str] = {}
    path: Path = Path()

    @property
    def class_map(self) -> ClassMap:
        """Output index to class name."""
        return ClassMap(self.classes)

    @property
    def weights(self) -> Path:
        """The safetensors file."""
        return self.path / "model.safetensors"

    @property
    def onnx(self) -> Path:
        """The ONNX file; may be absent."""
        return self.path / "model.onnx"

    def seal(self, folder: Path) -> Bundle:
        """Write the manifest over the files already in `folder`, last of all."""
        names = sorted(
            p for p in folder.rglob("*") if p.is_file() and p.name != MANIFEST and not p.name.startswith(".")
        )
        files = {p.relative_to(folder).as_posix(): sha256(p) for p in names}
        sealed = self.model_copy(update={"files": files, "path": folder})
        write_json(folder / MANIFEST, sealed.model_dump(mode="json", exclude={"path"}))
        return sealed

    @classmethod
    def open(cls, folder: Path) -> Bundle:
        """The bundle in `folder` (a bundle, or a run that holds one in model/), its files checked against the manifest.

        Raises NotFound when there is nothing, BadBundle when it is incomplete, damaged or from a newer clearsight.
        """
        if not folder.exists():
            raise NotFound(str(folder), "there is no run or bundle of that name")
        inner = folder / "model"
        if not (folder / MANIFEST).is_file() and (inner / MANIFEST).is_file():
            folder = inner
        if not (folder / MANIFEST).is_file():
            raise BadBundle(str(folder), f"it is not a bundle or a finished run: {MANIFEST} is missing")
        try:
            facts = read_json(folder / MANIFEST)
        except BadData as error:
            raise BadBundle(str(folder / MANIFEST), error.problem, fix="Export or train the model again.") from error
        if facts.get("format", 0) > FORMAT:
            raise BadBundle(
                str(folder), f"it has format {facts['format']}, this clearsight reads {FORMAT}", fix="Upgrade."
            )
        try:
            bundle = cls.model_validate({**facts, "path": folder})
        except ValidationError as error:
            raise BadBundle(str(folder), f"its manifest is damaged ({error.errors()[0]['msg']})") from None
        for name, digest in bundle.files.items():
            if not (folder / name).is_file() or sha256(folder / name) != digest:
                raise BadBundle(str(folder), f"{name} is missing or not the file that was written")
        return bundle

    def pack(self, archive: Path) -> Path:
        """Write the bundle as `archive` (.tar.gz, members without a leading folder); equal bundles give equal bytes."""
        with (
            atomic(archive) as part,
            part.open("wb") as raw,
            gzip.GzipFile(fileobj=raw, mode="wb", filename="", mtime=0) as squeezed,
            tarfile.open(fileobj=squeezed, mode="w", format=tarfile.PAX_FORMAT) as tar,
        ):
            for name in [*self.files, MANIFEST]:
                info = tar.gettarinfo(self.path / name, arcname=name)
                info.uid = info.gid = 0
                info.uname = info.gname = ""
                info.mtime = 0
                with (self.path / name).open("rb") as stream:
                    tar.addfile(info, stream)
        return archive


@contextmanager
def open_bundle(path: Path) -> Iterator[Bundle]:
    """The bundle at `path`: a run folder, a bundle folder, or a packed one (unpacked for the duration)."""
    if not path.is_file():
        yield Bundle.open(path)
        return
    folder = Path(tempfile.mkdtemp(prefix="clearsight-bundle-"))
    try:
        unpack(path, folder)
        yield Bundle.open(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
