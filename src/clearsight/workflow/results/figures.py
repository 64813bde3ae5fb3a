"""Figures of results for Python: the charts of the reports, with a title and colours of their own."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from clearsight.core.errors import BadChoice, EmptyInput, MissingExtra
from clearsight.core.run import Run
from clearsight.core.run_facts import read_evaluation

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from clearsight.debugger.storage.saved_tensor import SavedTensor

By: TypeAlias = Literal["epoch", "step"]

EVALUATION_CHARTS = ("confusion", "calibration", "classes")


def standalone(figure: go.Figure, title: str) -> go.Figure:
    """Return a chart of a report as a figure of its own: a title, a grid, and text that is legible on white."""
    figure.update_layout(
        template="plotly_white",
        title={"text": title, "x": 0, "xanchor": "left", "y": 0.98, "yanchor": "top", "yref": "container"},
        margin={"l": 60, "r": max(24, figure.layout.margin.r or 0), "t": 90, "b": 50},
        height=(figure.layout.height or 300) + 80,
        paper_bgcolor="white",
        plot_bgcolor="white",
    )
    for annotation in figure.layout.annotations:
        if annotation.name in ("on-colour", "on-paper"):  # numbers in the cells of a matrix
            annotation.font.color = "white" if annotation.name == "on-colour" else "#222"
    return figure


def run_figure(run: Run, what: str, by: By | None, statistic: str) -> go.Figure:
    """Return the figure of a metric of a run, of its evaluation, or of a tensor that was saved in it.

    Raises BadChoice with the nearest name for anything else.
    """
    check_plotly()
    from clearsight.debugger.storage.saved_run import SavedRun

    if what in EVALUATION_CHARTS:
        return evaluation_figure(_evaluation(run), what, run.name)
    check_by(by)
    epochs = run.epochs()
    by_epoch = {name for row in epochs for name in (*row["train"], *row["valid"])} | {"lr"}
    if what in by_epoch and by != "step":
        return _epoch_figure(run, epochs, what)
    saved = SavedRun(run.path)
    names = [name for name in saved.tensor_names() if not name.startswith(("epoch_", "valid_"))]
    if what not in names:
        allowed = dict.fromkeys([*sorted(by_epoch), *EVALUATION_CHARTS, *names])
        raise BadChoice(f"plot({what!r})", "the run has nothing of that name", got=what, allowed=allowed)
    if by == "epoch":
        raise BadChoice(f"plot({what!r}, by='epoch')", "it is saved by step", got=by, allowed=("step",))
    return tensor_figure(saved.tensor(what), statistic=statistic, title=f"{what} of {run.name}")


def tensor_figure(tensor: SavedTensor, *, mode: str | None = None, statistic: str = "l2", title: str = "") -> go.Figure:
    """Return the figure of a scalar or of a statistic of a tensor, over the steps at which it was saved.

    mode: train, eval or predict; None for all in which it was saved. Raises BadChoice for another one.
    """
    check_plotly()
    from clearsight.reports.charts.learning import step_curve
    from clearsight.reports.charts.series import ScalarSeries

    modes = tensor.modes()
    if mode is not None and mode not in modes:
        raise BadChoice(f"mode {mode!r}", f"{tensor.name} was not saved in it", got=mode, allowed=modes)
    series: dict[str, ScalarSeries] = {}
    for saved in modes if mode is None else [mode]:
        values = tensor.curve(saved, statistic)
        numbers = np.array(list(values.values()), np.float64)
        finite = np.isfinite(numbers)
        steps = np.array(list(values), np.int64)
        series[str(saved)] = ScalarSeries(steps[finite], numbers[finite], int((~finite).sum()))
    first = "train" if "train" in series else next(iter(series))
    figure = step_curve(series[first], series.get("eval") if first != "eval" else None)
    is_scalar = all(tensor.scalars.get(saved) for saved in modes)
    figure.update_yaxes(title_text="" if is_scalar else statistic)
    return standalone(figure, title or (tensor.name if is_scalar else f"{tensor.name}: {statistic}"))


def evaluation_figure(values: Mapping[str, Any], what: str, name: str) -> go.Figure:
    """Return the figure of an evaluation: confusion, calibration or classes.

    values: the shape of metrics.json. Raises BadChoice for another name.
    """
    check_plotly()
    from clearsight.reports.charts.learning import confusion_matrix, per_class_bars, reliability_diagram

    if what == "confusion":
        matrix = values["confusion"]
        return standalone(confusion_matrix(matrix["labels"], matrix["matrix"]), f"Confusion of {name}")
    if what == "calibration":
        title = f"Calibration of {name}: ECE {values['ece']:.3f}"
        return standalone(reliability_diagram(values["reliability"]), title)
    if what == "classes":
        return standalone(per_class_bars(values["per_class"]), f"Scores of each class of {name}")
    raise BadChoice(f"plot({what!r})", "an evaluation has no such chart", got=what, allowed=EVALUATION_CHARTS)


def images_figure(images: Sequence[tuple[str, str]], title: str) -> go.Figure:
    """Return a figure of images side by side, up to four a row. images: (data URI, text above it)."""
    check_plotly()
    from plotly.subplots import make_subplots

    from clearsight.reports.charts.learning import escape_name

    if not images:
        raise EmptyInput("plot", "there is no image to show")
    columns = min(4, len(images))
    rows = -(-len(images) // columns)
    figure = make_subplots(rows=rows, cols=columns, subplot_titles=[escape_name(text) for _, text in images])
    for index, (source, _) in enumerate(images):
        place = {"row": index // columns + 1, "col": index % columns + 1}
        figure.add_image(source=source, hoverinfo="skip", **place)
    figure.update_xaxes(visible=False)
    figure.update_yaxes(visible=False)
    figure.update_layout(height=260 * rows, margin={"r": 8})
    return standalone(figure, title)


def check_plotly() -> None:
    """Raise MissingExtra without Plotly, which an installation for serving may leave out."""
    try:
        importlib.import_module("plotly")
    except ModuleNotFoundError:
        fix = "Install it with: pip install plotly."
        raise MissingExtra("plot", "charts need the package plotly", fix=fix) from None


def check_by(by: object) -> None:
    """Raise BadChoice for a unit of the axis that is neither "epoch" nor "step"; None is allowed."""
    if by not in (None, "epoch", "step"):
        raise BadChoice(f"by={by!r}", "no such axis", got=by, allowed=("epoch", "step"))


def _epoch_figure(run: Run, epochs: Sequence[Mapping[str, Any]], metric: str) -> go.Figure:
    from clearsight.reports.charts.learning import learning_curve

    train = [row["lr"] if metric == "lr" else row["train"].get(metric) for row in epochs]
    valid = [row["valid"].get(metric) for row in epochs]
    best = run.best_epoch if metric != "lr" else None
    figure = learning_curve([row["epoch"] for row in epochs], train, valid, best=best, metric=metric)
    return standalone(figure, f"{metric} of {run.name}")


def _evaluation(run: Run) -> Mapping[str, Any]:
    if not run.files.scores.is_file():
        fix = "Measure it: clearsight.evaluate(run, DATA).plot(...)."
        raise EmptyInput(f"plot of {run.path}", "the run was not evaluated on test images", fix=fix)
    return read_evaluation(run.files.scores)
