"""Predictions: the classes of images as a list, a table, files, and images with their labels."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from clearsight.core.errors import BadValue, ClearsightError, EmptyInput
from clearsight.core.files import atomic, write_json, write_text
from clearsight.core.format import several
from clearsight.core.safe_text import csv_text
from clearsight.data.decode import decode
from clearsight.workflow.prepare.inputs import InputImage
from clearsight.workflow.results.figures import images_figure
from clearsight.workflow.results.html import facts_html, images_html

if TYPE_CHECKING:
    import plotly.graph_objects as go

_SHOWN = 20  # lines of a summary
_HTML_IMAGES = 12  # in a notebook; a thumbnail is about 4 kB


@dataclass(frozen=True, kw_only=True, slots=True)
class Prediction:
    """Prediction for one image: `top` is (class, probability), best first; empty when `error` says why there is none.

    path: of the file, the key in a dataset, or "#N" of an image in memory.
    """

    path: str
    top: tuple[tuple[str, float], ...] = ()
    error: str | None = None

    @property
    def label(self) -> str | None:
        """The most probable class; None where the image could not be read."""
        return self.top[0][0] if self.top else None

    @property
    def probability(self) -> float | None:
        """Probability of that class."""
        return self.top[0][1] if self.top else None

    def to_json(self) -> dict[str, Any]:
        """Return the shape of one entry of `clearsight predict --json`."""
        return {
            "path": self.path,
            "label": self.label,
            "probability": self.probability,
            "top": [{"label": label, "probability": probability} for label, probability in self.top],
            "error": self.error,
        }


class Predictions(list[Prediction]):
    """Predictions in the order of the images.

    classes: C names.  probabilities: (N, C) float64, NaN in the row of an image that could not be read.
    embeddings: (N, D) float32, the features before the head, NaN in such a row; None where they were not asked for.
    """

    def __init__(
        self,
        rows: Sequence[Prediction],
        images: Sequence[InputImage],
        classes: tuple[str, ...],
        probabilities: npt.NDArray[np.float64],
        embeddings: npt.NDArray[np.float32] | None = None,
    ) -> None:
        super().__init__(rows)
        self.classes, self.probabilities, self.embeddings = classes, probabilities, embeddings
        self._images = images

    def plot(self, count: int = 8) -> go.Figure:
        """Return a Plotly figure of the first `count` images with their classes; MissingExtra without plotly."""
        shown = [(source, f"{row.label} {row.probability:.2f}") for row, source in self._thumbnails(count, 224)]
        return images_figure(shown, "Predictions")

    def to_frame(self) -> Any:
        """Return a row per image: a pandas DataFrame where pandas is installed, else a list of dicts."""
        rows = [dict(zip(self._columns(), row, strict=True)) for row in self._rows()]
        if importlib.util.find_spec("pandas") is None:  # pandas is not among the requirements
            return rows
        return importlib.import_module("pandas").DataFrame(rows)

    def write_csv(self, path: Path) -> Path:
        """Write path, label, probability, a column per class and error; return the path."""
        rows = ([f"{cell:.6g}" if isinstance(cell, float) else cell for cell in row] for row in self._rows())
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, csv_text([self._columns(), *rows]))
        return path

    def write_embeddings(self, path: Path) -> Path:
        """Write the features: .npz with the arrays paths (N,) and embeddings (N, D), or .csv with a column each.

        Raises EmptyInput where they were not computed, BadValue for another suffix.
        """
        check_embeddings_path(path)
        if self.embeddings is None:
            raise EmptyInput(str(path), "the features were not computed", fix="Pass embeddings=True to predict.")
        path.parent.mkdir(parents=True, exist_ok=True)
        names = [row.path for row in self]
        if path.suffix == ".npz":
            with atomic(path) as part, part.open("wb") as file:
                np.savez_compressed(file, paths=np.array(names, np.str_), embeddings=self.embeddings)
            return path
        head = ["path", *(f"e{index}" for index in range(self.embeddings.shape[1]))]
        rows = ([name, *(f"{x:.6g}" for x in row)] for name, row in zip(names, self.embeddings, strict=True))
        write_text(path, csv_text([head, *rows]))
        return path

    def write(self, folder: Path) -> None:
        """Write predictions.csv and predictions.json, and embeddings.npz where features were computed."""
        self.write_csv(folder / "predictions.csv")
        write_json(folder / "predictions.json", [row.to_json() for row in self])
        if self.embeddings is not None:
            self.write_embeddings(folder / "embeddings.npz")

    def __repr__(self) -> str:
        more = [f"... and {len(self) - _SHOWN:,} more"] if len(self) > _SHOWN else []
        return "\n".join([*prediction_lines(self[:_SHOWN]), *more])

    def _repr_html_(self) -> str:
        shown = [
            (source, (row.path.rpartition("/")[2], f"{row.label} {row.probability:.2f}"))
            for row, source in self._thumbnails(_HTML_IMAGES, 144)
        ]
        errors = [(row.path, f"cannot be read: {row.error}") for row in self if row.error][:_SHOWN]
        return facts_html(several(len(self), "image"), errors, images_html(shown))

    def _columns(self) -> list[str]:
        return ["path", "label", "probability", *(f"p:{name}" for name in self.classes), "error"]

    def _rows(self) -> Iterator[list[Any]]:
        for row, numbers in zip(self, self.probabilities, strict=True):
            known = [None] * len(self.classes) if row.error else [float(number) for number in numbers]
            yield [row.path, row.label, row.probability, *known, row.error]

    def _thumbnails(self, count: int, size: int) -> Iterator[tuple[Prediction, str]]:
        from clearsight.reports.kit.thumbnail import thumbnail

        readable = [(row, image) for row, image in zip(self, self._images, strict=True) if not row.error]
        for row, image in readable[:count]:
            try:
                content = image.read()
                if isinstance(content, bytes) or image.stored:
                    yield row, thumbnail(decode(content), size)
                elif content.dtype == np.uint8:  # others are prepared for the network: they have no colours to show
                    yield row, thumbnail(content.astype(np.uint8, copy=False), size)
            except (ClearsightError, OSError):
                continue  # gone or changed since it was classified


def check_embeddings_path(path: Path) -> None:
    """Raise BadValue for a file that is neither .npz nor .csv."""
    if path.suffix not in (".npz", ".csv"):
        raise BadValue(f"--embeddings {path}", "features are written as .npz or .csv", fix="Name it features.npz.")


def prediction_lines(rows: Sequence[Prediction]) -> list[str]:
    """Return predictions for people, one line each."""
    width = max((len(row.path) for row in rows), default=0)
    texts = ("  ".join(f"{label} {probability:.3f}" for label, probability in row.top) for row in rows)
    return [
        f"{row.path:<{width}}  {ranked or f'cannot be read: {row.error}'}"
        for row, ranked in zip(rows, texts, strict=True)
    ]
