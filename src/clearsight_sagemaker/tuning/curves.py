"""ObjectiveCurves: every value of a metric that a training job has written, in order, read from its events."""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass, field

from clearsight_sagemaker.jobs.queue import JobQueue

_MOST_VALUES = 20_000  # of a curve; a script that writes more writes them for steps, not epochs
_MOST_CURVES = 2_000  # that stay in memory


@dataclass(kw_only=True)
class _Curve:
    """Values so far. offset: byte of the event file up to which they are in."""

    values: list[float] = field(default_factory=list)
    offset: int = 0
    is_whole: bool = False


class ObjectiveCurves:
    """Curves of training jobs; used by one thread. A job without a folder has an empty curve."""

    def __init__(self, queue: JobQueue) -> None:
        self._queue = queue
        self._curves: OrderedDict[tuple[str, str], _Curve] = OrderedDict()

    def curve(self, name: str, metric: str, *, has_ended: bool) -> list[float]:
        """Return the values of a metric of a job. has_ended: nothing comes any more, so that it is read once."""
        curve = self._curves.setdefault((name, metric), _Curve())
        self._curves.move_to_end((name, metric))
        while len(self._curves) > _MOST_CURVES:
            self._curves.popitem(last=False)
        if not curve.is_whole:
            for event, offset in self._queue.folder(name).read_events(curve.offset):
                curve.offset = offset
                value = event.get("value")
                if event["kind"] != "metric" or event.get("name") != metric or len(curve.values) >= _MOST_VALUES:
                    continue
                if isinstance(value, int | float) and math.isfinite(value):
                    curve.values.append(float(value))
            curve.is_whole = has_ended
        return curve.values
