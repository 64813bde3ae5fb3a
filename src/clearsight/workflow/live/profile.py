"""LiveProfile: phases of the training step and gauges of the machine, from the growing profile of a run."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from clearsight.core.files import LineFollower, read_json
from clearsight.core.profile import PHASES
from clearsight.core.profile_folder import gauges_file, spans_file

_STEPS = 50  # timed steps over which phases are averaged
_SAMPLES = 20  # samples of the gauges that are averaged
_TAIL = 1 << 16  # bytes that are read of a profile that exists already: only recent lines count


class LiveProfile:
    """Recent phases and gauges. `update` reads what was appended since the last call.

    ranks: processes of the training job.
    """

    def __init__(self, folder: Path) -> None:
        """folder: the run's `profile`; it need not exist yet."""
        self._gauges = LineFollower(gauges_file(folder), tail=_TAIL)
        self._spans = LineFollower(spans_file(folder), tail=_TAIL)
        self._machine = folder / "machine.json"
        self._samples: deque[Mapping[str, float]] = deque(maxlen=_SAMPLES)
        self._steps: deque[Mapping[str, Any]] = deque(maxlen=_STEPS)
        self.ranks = 1

    def update(self) -> None:
        """Read the new lines."""
        if self._machine.is_file():
            self.ranks = int(read_json(self._machine).get("ranks", 1))
        self._samples.extend(row["values"] for row in self._gauges.rows() if "values" in row)
        self._steps.extend(row for row in self._spans.rows() if "phases" in row)

    @property
    def paths(self) -> tuple[Path, Path]:
        """Return the paths of the files that grow."""
        return self._gauges.path, self._spans.path

    @property
    def phases(self) -> dict[str, float]:
        """Return mean seconds of a recent step in each phase, and in none as "other"; {} without timed steps."""
        if not self._steps:
            return {}
        names_seen = dict.fromkeys(name for row in self._steps for name in row["phases"])
        names = [name for name in PHASES if name in names_seen] + [name for name in names_seen if name not in PHASES]
        sums = {name: sum(row["phases"].get(name, 0.0) for row in self._steps) for name in names}
        other = sum(row["seconds"] for row in self._steps) - sum(sums.values())
        return {name: total / len(self._steps) for name, total in {**sums, "other": max(other, 0.0)}.items()}

    @property
    def gauges(self) -> dict[str, float]:
        """Return means of the recent samples by gauge; {} without samples."""
        names = dict.fromkeys(name for sample in self._samples for name in sample)
        columns = {name: [sample[name] for sample in self._samples if name in sample] for name in names}
        return {name: sum(values) / len(values) for name, values in columns.items()}
