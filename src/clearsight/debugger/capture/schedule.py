"""Calendar: what is to be taken at a moment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from clearsight.core.tensors import Mode, Moment, SaveSchedule
from clearsight.debugger.capture.save_plan import SaveRequest
from clearsight.debugger.capture.snapshot_builder import SnapshotBuilder


class CaptureSchedule:
    """schedule: of statistics, by mode.  keep: whole tensors.  sample: as in `summarize`."""

    def __init__(self, schedule: Mapping[Mode, SaveSchedule], keep: Sequence[SaveRequest], sample: int | None) -> None:
        self._schedule, self._keep, self._sample = dict(schedule), tuple(keep), sample
        self._epochs: dict[Mode, int] = {}  # the last one met

    def take(self, at: Moment) -> SnapshotBuilder | None:
        """An empty take, or None where nothing is due. To be asked once for each step."""
        schedule = self._schedule.get(at.mode)
        statistics = schedule is not None and schedule.due(at.step)
        new_epoch = self._epochs.get(at.mode) != at.epoch
        self._epochs[at.mode] = at.epoch
        wishes = [wish for wish in self._keep if at.mode in wish.modes and _is_due(wish, at, schedule, new_epoch)]
        if not statistics and not wishes:
            return None
        return SnapshotBuilder(at, statistics=statistics, sample=self._sample, wishes=wishes)


def _is_due(wish: SaveRequest, at: Moment, schedule: SaveSchedule | None, new_epoch: bool) -> bool:
    if wish.per_epoch:
        return new_epoch
    chosen = wish.schedule or schedule or SaveSchedule()
    return chosen.due(at.step)
