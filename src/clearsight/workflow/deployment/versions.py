"""Versions of an endpoint: copies of the models that it serves, made before any worker starts."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from clearsight.core.bundle import MACHINES, MANIFEST, Bundle, open_bundle
from clearsight.core.errors import BadBundle, BadValue, NotFound
from clearsight.core.files import unpack
from clearsight.jobs.job import check_name
from clearsight.jobs.requirements import python_for
from clearsight.serving.endpoint_files import MAIN, VariantConfig
from clearsight.serving.handlers.model import entry_point

_REQUIREMENTS = "code/requirements.txt"


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelSource:
    """A model to serve: a run, a bundle, or a folder or archive with code/inference.py.

    share: of the requests; 0 for a shadow.  entry_point: file in code/ that serves it; "" for a bundle as it is, and
    for the usual file of a model without a manifest.
    """

    path: Path
    name: str = MAIN
    share: float = 1.0
    entry_point: str = ""


def parse_variant(text: str, *, shadow: bool) -> ModelSource:
    """Return what "NAME=MODEL:SHARE" says, or "NAME=MODEL" of a shadow. Raises BadValue."""
    flag = f"--{'shadow' if shadow else 'variant'} {text}"
    name, equals, rest = text.partition("=")
    path, colon, share = (rest, ":", "0") if shadow else rest.rpartition(":")
    if not (name and equals and path and colon):
        form, example = ("NAME=MODEL", "b=runs/second") if shadow else ("NAME=MODEL:SHARE", "b=runs/second:0.1")
        raise BadValue(flag, f"must be {form}, such as {example}")
    try:
        value = float(share)
    except ValueError:
        raise BadValue(flag, f"its share {share!r} is no number") from None
    if not shadow and not value:
        raise BadValue(flag, "its share must be above 0", fix="A model without a share is one of --shadow.")
    return named_source(name, Path(path), value)


def named_source(name: str, path: Path, share: float) -> ModelSource:
    """Return a further model of an endpoint; raises BadValue for its name or its share."""
    if not 0 <= share < 1:
        raise BadValue(f"variant {name}", f"its share {share:g} must be above 0 and below 1")
    return ModelSource(path=path, name=check_name(name), share=share)


def with_main(main: ModelSource, others: Sequence[ModelSource]) -> tuple[ModelSource, ...]:
    """Return all models of a version; the main one gets the share that the others leave. Raises BadValue."""
    names = [main.name, *(source.name for source in others)]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise BadValue(f"variant {twice}", "there are two of this name")
    rest = 1 - sum(source.share for source in others)
    if rest <= 1e-9:
        raise BadValue("--variant", f"their shares leave nothing to {main.name}; their sum must be below 1")
    return (replace(main, share=rest), *others)


def add_version(
    folder: Path,
    sources: Sequence[ModelSource],
    environments: Path,
    variables: Mapping[str, str],
    *,
    trust: bool = False,
) -> tuple[VariantConfig, ...]:
    """Copy models into the folder of a version, so that they are served whatever becomes of their runs.

    environments: folder of the environments for their requirements.txt.  variables: of pip.  trust: run code that comes
    with a model and that no `entry_point` names.
    Raises BadBundle and NotFound for what cannot be served, BadValue for variants with other classes, ClearsightError
    for requirements that cannot be installed.
    """
    shutil.rmtree(folder, ignore_errors=True)
    added: list[VariantConfig] = []
    classes: dict[str, tuple[str, ...]] = {}
    for source in sources:
        target = folder / source.name
        target.mkdir(parents=True)
        if source.entry_point or not _has_manifest(source.path):
            added.append(_copy_code(source, target, environments, variables, trust=trust or bool(source.entry_point)))
        else:
            with open_bundle(source.path) as bundle:
                _copy_bundle(bundle, target)
                classes[source.name] = bundle.classes
                added.append(VariantConfig(name=source.name, share=source.share, model=bundle.model))
    first = next(iter(classes), "")
    for name, of_variant in classes.items():
        if of_variant != classes[first]:
            raise BadValue(f"variant {name}", f"its classes are not those of {first}, in the same order")
    return tuple(added)


def copy_version(source: Path, target: Path) -> None:
    """Copy the models of a version, as links to the same files: none of them changes."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target, copy_function=_link)


def _link(source: str, target: str) -> None:
    os.link(source, target)


def _copy_bundle(bundle: Bundle, target: Path) -> None:
    choice = [MACHINES] if (bundle.path / MACHINES).is_file() else []
    for name in [*bundle.files, *choice, MANIFEST]:  # the manifest last, as always
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(bundle.path / name, target / name)


def _copy_code(
    source: ModelSource, target: Path, environments: Path, variables: Mapping[str, str], *, trust: bool
) -> VariantConfig:
    """Copy a model with code of its own; its name is that of its folder or archive."""
    if source.path.is_dir():
        inner = source.path / "model"  # a run folder holds its bundle there
        folder = inner if not (source.path / "code").is_dir() and (inner / "code").is_dir() else source.path
        shutil.copytree(folder, target, dirs_exist_ok=True, symlinks=False)
    elif source.path.is_file():
        unpack(source.path, target)
    else:
        raise NotFound(str(source.path), "there is no run, bundle or folder of that name")
    if not (target / "code").is_dir():
        problem = f"it is not a bundle ({MANIFEST} is missing), and it has no code/inference.py"
        raise BadBundle(str(source.path), problem)
    try:
        entry = entry_point(target, source.entry_point)
    except BadBundle as error:
        raise BadBundle(str(source.path), error.problem, fix=error.fix) from None
    if not trust:
        problem = f"it is served by its own code, code/{entry}, which is not run unasked"
        raise BadValue(str(source.path), problem, fix="Read it, then pass --trust.")
    requirements = target / _REQUIREMENTS
    python = str(python_for(requirements, environments, variables)) if requirements.is_file() else ""
    name = source.path.resolve().name.removesuffix(".tar.gz")
    return VariantConfig(name=source.name, share=source.share, model=name, entry_point=entry, python=python)


def _has_manifest(path: Path) -> bool:
    if path.is_dir():
        # A folder without code/ is none that code serves either: opening it says what is missing.
        has_code = (path / "code").is_dir() or (path / "model" / "code").is_dir()
        return (path / MANIFEST).is_file() or (path / "model" / MANIFEST).is_file() or not has_code
    if not path.is_file():
        return True  # likewise
    with tempfile.TemporaryDirectory(prefix="clearsight-model-") as temporary:
        unpack(path, Path(temporary))
        return (Path(temporary) / MANIFEST).is_file()
