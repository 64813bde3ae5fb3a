"""predict: classes of single images; a file that cannot be read is listed with the reason."""

from __future__ import annotations

import glob
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from clearsight.core.bundle import open_bundle
from clearsight.core.errors import BadImage, ClearsightError, EmptyInput, NotFound
from clearsight.core.machine import cores
from clearsight.data.decode import MAX_PIXELS
from clearsight.serving.payload import Prepared
from clearsight.workflow.predictors import open_predictor
from clearsight.workflow.prepare.datasets import Progress, quiet

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"})
_MAX_BYTES = 1 << 28  # a larger file is not an image to classify
_BATCH = 32  # images in memory at a time; decoding one batch keeps all cores busy


@dataclass(frozen=True, kw_only=True, slots=True)
class Prediction:
    """Prediction for one file: `top` is (class, probability), best first; empty when `error` says why there is none."""

    path: str
    top: tuple[tuple[str, float], ...] = ()
    error: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the shape of one entry of `clearsight predict --json`."""
        return {
            "path": self.path,
            "label": self.top[0][0] if self.top else None,
            "probability": self.top[0][1] if self.top else None,
            "top": [{"label": label, "probability": probability} for label, probability in self.top],
            "error": self.error,
        }


def predict(
    model: str | Path,
    paths: str | Path | Iterable[str | Path],
    *,
    top: int = 5,
    device: str = "cpu",
    max_pixels: int = MAX_PIXELS,
    progress: Progress = quiet,
) -> list[Prediction]:
    """Classify files, all images below folders, and globs, with the run or bundle `model`.

    top: classes listed per image.  Raises NotFound for a missing path, EmptyInput when no image was found.
    """
    files = find_images([paths] if isinstance(paths, str | Path) else list(paths))
    with open_bundle(Path(model)) as bundle, ThreadPoolExecutor(cores()) as pool:
        predictor = open_predictor(bundle, device=device, max_pixels=max_pixels)
        predictions: list[Prediction] = []
        for start in range(0, len(files), _BATCH):
            chunk = files[start : start + _BATCH]
            prepared = list(pool.map(lambda file: _read(file, predictor.prepare), chunk))
            images = [image for image in prepared if isinstance(image, np.ndarray)]
            rows: Iterator[Any] = iter(predictor.probabilities(np.stack(images)) if images else ())
            for file, image in zip(chunk, prepared, strict=True):
                if isinstance(image, str):
                    predictions.append(Prediction(path=str(file), error=image))
                    continue
                row = next(rows)
                order = np.argsort(-row, kind="stable")[:top]  # equal probabilities: in the order of the classes
                ranked = tuple((bundle.classes[i], float(row[i])) for i in order)
                predictions.append(Prediction(path=str(file), top=ranked))
            progress("predicting", len(predictions), len(files))
    return predictions


def find_images(paths: Sequence[str | Path]) -> list[Path]:
    """Return the files that `paths` name, each once, in the order given and sorted within folders and globs.

    A file named directly may have any suffix; below folders, hidden files and other suffixes are left out.
    """
    found: dict[Path, None] = {}  # a dict: each file once, in order
    for text in paths:
        path = Path(text).expanduser()
        if path.is_dir():
            found.update(dict.fromkeys(sorted(_below(path))))
        elif path.exists():  # before globs: a name may hold brackets
            found[path] = None
        elif matches := [match for match in sorted(glob.glob(str(path), recursive=True)) if Path(match).is_file()]:
            found.update(dict.fromkeys(map(Path, matches)))
        else:
            raise NotFound(str(text), "there is no such file, folder or glob match")
    if not found:
        raise EmptyInput(", ".join(map(str, paths)), "there is no image there", allowed=sorted(SUFFIXES))
    return list(found)


def _below(folder: Path) -> Iterator[Path]:
    for path in folder.rglob("*"):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if path.suffix.lower() in SUFFIXES and not hidden and path.is_file():
            yield path


def _read(path: Path, prepare: Any) -> Prepared | str:
    """Return the model's input, or why there is none."""
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise BadImage(str(path), f"it has more than {_MAX_BYTES >> 20} MiB")
        prepared: Prepared = prepare(path.read_bytes())
    except ClearsightError as error:
        return error.problem
    except OSError as error:
        return f"it cannot be read ({error.strerror})"
    return prepared
