"""Export of a run to event files of TensorBoard."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from clearsight.core.errors import BadValue, missing_extra
from clearsight.core.tensors import MODES, STATISTICS, Mode, RawTensor, SavedRecord, Scalars, Snapshot
from clearsight.debugger.storage.saved_tensor import edges, histogram_of, statistics_of

_EXPORTED = ("mean", "std", "min", "max", "l2", "zero_fraction", "nan")  # the quantiles are in the histogram


def export_tensorboard(records: Iterable[SavedRecord], folder: Path) -> list[Path]:
    """Write a run's scalars, statistics and histograms into event files, a folder per mode; return those folders.

    Tags: the name of a scalar; `<collection>/<tensor>` for a histogram and `<collection>/<tensor>/<statistic>` for
    mean, std, min, max, l2, zero_fraction and nan.  Steps are those of the mode.
    Raises MissingExtra without the package tensorboard, BadValue where event files are in the folder already.
    """
    if importlib.util.find_spec("tensorboard") is None:
        raise missing_extra("tensorboard", "tensorboard", "the export for TensorBoard")
    from torch.utils.tensorboard import SummaryWriter

    # TensorBoard merges all event files of a folder: those of another run would be drawn into the same curves.
    for mode in MODES:
        if any((folder / mode).glob("events.out.tfevents.*")):
            raise BadValue(str(folder / mode), "event files are there already", fix="Choose another folder.")
    writers: dict[Mode, Any] = {}
    with ExitStack() as stack:
        for record in records:
            mode = record.at.mode
            if mode not in writers:
                writers[mode] = stack.enter_context(closing(SummaryWriter(folder / mode)))
            _write(record, writers[mode])
    return [folder / mode for mode in writers]


def _write(record: SavedRecord, writer: Any) -> None:
    step = record.at.step
    if isinstance(record, Scalars):
        for name, value in record.values.items():
            writer.add_scalar(name, value, step)
        return
    for tag, row, histogram in _rows(record):
        values = dict(zip(STATISTICS, row.tolist(), strict=True))
        for statistic in _EXPORTED:
            writer.add_scalar(f"{tag}/{statistic}", values[statistic], step)
        if histogram is not None:
            finite = values["count"] - values["nan"] - values["inf"]
            # TensorBoard wants sums, not means; l2 is the root of the sum of squares.
            writer.add_histogram_raw(
                tag,
                min=values["min"],
                max=values["max"],
                num=finite,
                sum=values["mean"] * finite,
                sum_squares=values["l2"] ** 2,
                bucket_limits=edges(row)[1:].tolist(),
                bucket_counts=histogram.tolist(),
                global_step=step,
            )


def _rows(record: SavedRecord) -> Iterator[tuple[str, npt.NDArray[Any], npt.NDArray[Any] | None]]:
    """Yield tag, statistics (K,) and histogram (B,) of each tensor of a record."""
    if isinstance(record, Snapshot):
        for place, (name, collection) in enumerate(zip(record.names, record.collections, strict=True)):
            histogram = None if record.histograms is None else record.histograms[place]
            yield f"{collection}/{name}", record.table[place], histogram
    elif isinstance(record, RawTensor) and not np.iscomplexobj(record.value):
        counts, _ = histogram_of(record.value)
        yield f"{record.collection}/{record.name}", statistics_of(record.value), counts
