"""Archives that are submitted: the source of a job, the dataset, and a bundle with the code that serves it."""

from __future__ import annotations

import gzip
import io
import json
import mimetypes
import os
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from clearsight.core.bundle import MANIFEST, open_bundle
from clearsight.core.errors import BadData
from clearsight.core.recipe import Recipe
from clearsight_sagemaker.remote.wheel import wheel_bytes, wheel_name

TRAIN_PROGRAM, SERVE_PROGRAM = "train_recipe.py", "serve_bundle.py"

_CONTAINER = Path(__file__).with_name("container")
_TABLES = (".csv", ".tsv", ".json", ".jsonl", ".parquet", ".lst", ".manifest", ".txt")
_IMAGES = "images"  # folder of an archive with the images of a table that are elsewhere


@dataclass(frozen=True, kw_only=True, slots=True)
class PackedData:
    """A dataset as one file. file: to upload.  name: its key begins with the digest and ends with this.

    data: path of the dataset in what is unpacked, or the name of the file itself.  is_archive: it has to be unpacked.
    recipe: with paths as they are in the archive.  files: number of them, 0 for one that is not packed.
    """

    file: Path
    name: str
    data: str
    is_archive: bool
    recipe: Recipe
    files: int = 0


def pack_data(data: Path, recipe: Recipe, folder: Path) -> PackedData:
    """Return the dataset at a path as one file, which is written into `folder` where it is several.

    Of a table, the images in its folder, and in that of `image_folder`, go with it.  Raises BadData for an empty one.
    """
    data = data.expanduser().resolve()
    is_table = data.is_file() and data.suffix.lower() in _TABLES
    if data.is_file() and not is_table:
        return PackedData(file=data, name=data.name, data=data.name, is_archive=False, recipe=recipe)
    if is_table:
        images = Path(recipe.data.image_folder).expanduser().resolve() if recipe.data.image_folder else None
        roots = [(data.parent, "")] if images is None or images.is_relative_to(data.parent) else [(images, _IMAGES)]
        files = {data.name: data, **{name: path for root, at in roots for name, path in _images(root, at)}}
        if images is not None:
            inside = images.is_relative_to(data.parent)
            recipe = recipe.replace(image_folder=str(images.relative_to(data.parent)) if inside else _IMAGES)
        inner = data.name
    else:
        files = {f"{data.name}/{path.relative_to(data).as_posix()}": path for path in _visible(data)}
        inner = data.name
    if len(files) <= is_table:
        raise BadData(str(data), "there are no files to submit with it")
    archive = folder / "data.tar"
    with tarfile.open(archive, "w", format=tarfile.PAX_FORMAT) as tar:
        for name, path in sorted(files.items()):
            _add(tar, name, path)
    return PackedData(file=archive, name=f"{inner}.tar", data=inner, is_archive=True, recipe=recipe, files=len(files))


def _images(root: Path, at: str) -> Iterator[tuple[str, Path]]:
    for path in _visible(root):
        if (mimetypes.guess_type(path.name)[0] or "").startswith("image/"):
            yield Path(at, path.relative_to(root)).as_posix(), path


def _visible(root: Path) -> Iterator[Path]:
    """Yield the files below a folder, links followed, without hidden ones."""
    for folder, folders, names in os.walk(root, followlinks=True):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (
            path for name in sorted(names) if not name.startswith(".") and (path := Path(folder, name)).is_file()
        )


def _add(tar: tarfile.TarFile, name: str, path: Path) -> None:
    """Add a file without its owner and its time, so that equal files make equal archives."""
    info = tarfile.TarInfo(name)
    info.size = path.stat().st_size
    with path.open("rb") as stream:
        tar.addfile(info, stream)


def _add_bytes(tar: tarfile.TarFile, name: str, body: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(body)
    tar.addfile(info, io.BytesIO(body))


def source_archive(recipe: Recipe, job: Mapping[str, object]) -> bytes:
    """Return sourcedir.tar.gz of a training: clearsight, the script, the recipe and job.json. Equal ones are equal."""
    return packed(
        {
            TRAIN_PROGRAM: (_CONTAINER / TRAIN_PROGRAM).read_bytes(),
            **_installer(),
            "recipe.yaml": recipe.to_yaml().encode(),
            "job.json": json.dumps(job, indent=2).encode(),
        }
    )


def write_model_archive(model: Path, archive: Path) -> str:
    """Write model.tar.gz with a bundle and the code that serves it; return the name of the bundle's model.

    model: run, bundle or packed bundle.
    """
    code = {f"code/{SERVE_PROGRAM}": (_CONTAINER / SERVE_PROGRAM).read_bytes()}
    code |= {f"code/{name}": body for name, body in _installer().items()}
    with (
        open_bundle(model) as bundle,
        archive.open("wb") as raw,
        gzip.GzipFile("", "wb", 6, raw, mtime=0) as squeezed,
        tarfile.open(fileobj=squeezed, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        for name in [*bundle.files, MANIFEST]:
            _add(tar, name, bundle.path / name)
        for name, body in code.items():
            _add_bytes(tar, name, body)
        return bundle.model


def packed(files: Mapping[str, bytes]) -> bytes:
    """Return a tar.gz of files, without owners and times."""
    body = io.BytesIO()
    with gzip.GzipFile("", "wb", 6, body, mtime=0) as squeezed, tarfile.open(fileobj=squeezed, mode="w") as tar:
        for name, content in files.items():
            _add_bytes(tar, name, content)
    return body.getvalue()


def _installer() -> dict[str, bytes]:
    return {
        wheel_name(): wheel_bytes(),
        "install_clearsight.py": (_CONTAINER / "install_clearsight.py").read_bytes(),
    }
