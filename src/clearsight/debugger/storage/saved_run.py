"""SavedRun: what was saved of a run, read while it goes on and long after."""

from __future__ import annotations

import re
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from heapq import merge
from pathlib import Path

from clearsight.core.context import RunContext
from clearsight.core.errors import BadChoice, BadValue, NotFound
from clearsight.core.events import RunStatus
from clearsight.core.files import read_json
from clearsight.core.finding import Finding, read_findings
from clearsight.core.machine import process_ended
from clearsight.core.profile import Profile
from clearsight.core.profile_folder import read_profile
from clearsight.core.run import RunFolder
from clearsight.core.tensors import COLLECTIONS, MODES, Mode, Moment, RawTensor, SavedRecord, Scalars, Snapshot
from clearsight.debugger.storage.index import IndexEntry, Layout
from clearsight.debugger.storage.metrics_reader import MetricsReader
from clearsight.debugger.storage.saved_tensor import SavedTensor
from clearsight.debugger.storage.tape import Tape
from clearsight.debugger.storage.tensor_store import FileTensorStore, IndexPosition

_POLL = 0.2  # seconds between two checks of the file sizes of a run that goes on
_SCALARS = "scalars"

_Numbers = dict[Mode, list[tuple[Moment, float]]]


class SavedRun:
    """A run folder. Every method returns what is on disk at the moment of the call.

    Scalars are tensors too. Names are those of metrics.jsonl and of the store; scalars with "loss" in their name belong
    to the collection "losses", and all of them to "scalars".  rank: of the process whose records are read, in a run on
    several devices that saved all of them.
    """

    def __init__(self, path: Path, rank: int = 0) -> None:
        self.path = Path(path)
        self._files = files = RunFolder(self.path)
        self.store = FileTensorStore(files.tensors, rank)
        self._metrics = files.metrics(rank)
        if not any(file.exists() for file in (files.state, files.tensors, files.metrics(), files.profile)):
            raise NotFound(str(path), "there is no run in this folder (no run.json, tensors, metrics.jsonl or profile)")
        self._stamp: tuple[tuple[int, int, int], ...] = ()  # inode, size and time of each file
        self._cached = _Contents(self._metrics, self.store)

    @property
    def ended(self) -> bool:
        """True if the run is over: run.json does not say `running`, the hook is closed, or the process died."""
        if self.store.finished:
            return True
        if not self._files.is_run:
            return self._files.process.is_file() and process_ended(read_json(self._files.process))
        state = read_json(self._files.state)
        return state.get("status") != RunStatus.RUNNING or process_ended(state.get("process", {}))

    @property
    def context(self) -> RunContext:
        """Circumstances of the run: its plan, model, data and settings."""
        return self.store.read_context()

    @property
    def facts(self) -> RunContext:
        """Former name of `context`."""
        return self.context

    def modes(self) -> list[Mode]:
        """Return the modes in which something was saved."""
        return [mode for mode in MODES if self.steps(mode)]

    def steps(self, mode: Mode = "train") -> list[int]:
        """Return the steps of a mode at which anything was saved, ascending."""
        # Of the index alone: no blob is opened for names, steps and points.
        return sorted(self._contents().steps[_mode(mode)])

    def tensor_names(
        self, regex: str | None = None, collection: str | None = None, mode: str | None = None
    ) -> list[str]:
        """Return the names of what was saved, scalars first, then in the order of the model.

        regex: found anywhere in the name.  collection: one of COLLECTIONS, or "scalars".
        Raises BadChoice for an unknown collection or mode, BadValue for an invalid regex.
        """
        contents = self._contents()
        names = contents.names(collection)
        if mode is not None:
            _mode(mode)
            names = [name for name in names if mode in contents.points[name]]
        try:
            pattern = re.compile(regex or "")
        except re.error as error:
            raise BadValue(f"name {regex}", f"it is no regular expression ({error})") from None
        return [name for name in names if pattern.search(name)]

    def tensor(self, name: str) -> SavedTensor:
        """Return what was saved under a name. Raises BadChoice, with the nearest name, for an unknown one."""
        contents = self._contents()
        if name not in contents.points:
            raise BadChoice(name, "nothing was saved under this name", got=name, allowed=contents.points)
        return contents.tensor(name)

    def points(self) -> dict[str, dict[Mode, int]]:
        """Return the number of points of each name, per mode."""
        return {name: dict(counts) for name, counts in self._contents().points.items()}

    def findings(self) -> list[Finding]:
        """Return the verdicts in findings.jsonl; none where the rules were never asked."""
        return read_findings(self._files.findings)

    def to_tensorboard(self, folder: str | Path) -> list[Path]:
        """Write scalars, statistics and histograms as event files, a folder per mode in `folder`; return those folders.

        Raises MissingExtra without the package tensorboard, BadValue where event files are there already.
        """
        from clearsight.debugger.storage.tensorboard import export_tensorboard

        return export_tensorboard(self.records(), Path(folder))

    def tape(self) -> Tape:
        """Return the whole run as the rules see it: equal to what they saw while it trained."""
        ended = self.ended
        return Tape(self.context, self.records(), ended=ended, profile=self.profile())

    def profile(self) -> Profile:
        """Return what the machine did; empty where nothing was measured."""
        return read_profile(self._files.profile)

    def records(self) -> Iterator[SavedRecord]:
        """Yield every record, by training step: scalars of metrics.jsonl and what is in the store."""
        scalars = MetricsReader(self._metrics).scalars()
        return _merged(scalars, self.store.records(), _names(scalars))

    def tail(self, patience: float | None = None) -> Iterator[SavedRecord]:
        """Yield records as they come, from the first; ends when the run has ended and all were yielded.

        It checks the files five times a second. patience: seconds without anything new after which it ends too, for a
        run whose process may have died. After a resume, what came after its checkpoint comes again.
        """
        metrics, position, last = MetricsReader(self._metrics), IndexPosition(), time.monotonic()
        names: set[tuple[Mode, str]] = set()
        while True:
            ended = self.ended  # before reading: everything that was written before the end is then read
            scalars = metrics.follow()
            names |= _names(scalars)
            stored, position = self.store.follow(position)
            new = list(_merged(scalars, stored, names))
            yield from new
            if new:
                last = time.monotonic()
            elif ended or (patience is not None and time.monotonic() - last >= patience):
                return
            else:
                time.sleep(_POLL)

    def wait_for_steps(self, steps: Sequence[int], mode: Mode = "train", timeout: float | None = None) -> list[int]:
        """Wait until the run has passed all of `steps`, has ended, or `timeout` seconds are over.

        Return those of `steps` that are saved. It checks the sizes of the files five times a second and reads what is
        new when they grew.
        """
        start = time.monotonic()
        while True:
            ended, saved = self.ended, self.steps(mode)
            is_late = timeout is not None and time.monotonic() - start >= timeout
            if ended or is_late or not steps or (saved and saved[-1] >= max(steps)):
                return sorted(set(steps) & set(saved))
            time.sleep(_POLL if timeout is None else min(_POLL, timeout))

    def _contents(self) -> _Contents:
        # Sizes and times first: asking again costs two calls of stat while nothing has come.
        stamp = tuple(_stamp(path) for path in (self._metrics, self.store.index))
        if stamp != self._stamp:
            # A run that went back to a checkpoint wrote its files anew: they differ from some line on.
            if any(new[0] != old[0] or new[1] < old[1] for new, old in zip(stamp, self._stamp, strict=False)):
                self._cached = _Contents(self._metrics, self.store)
            self._cached.read_on()
            self._stamp = stamp
        return self._cached


class _Contents:
    """Contents of a run by name and mode, with the arrays left on disk. `read_on` adds what has come."""

    def __init__(self, metrics: Path, store: FileTensorStore) -> None:
        self._metrics, self._store, self._position = MetricsReader(metrics), store, IndexPosition()
        self._measured: dict[str, _Numbers] = defaultdict(lambda: defaultdict(list))  # in metrics.jsonl
        self._stored: dict[str, _Numbers] = defaultdict(lambda: defaultdict(list))  # in the store
        self._snapshots: dict[Mode, dict[int, tuple[Layout, list[IndexEntry]]]] = defaultdict(dict)
        self._raws: dict[str, dict[Mode, list[IndexEntry]]] = defaultdict(lambda: defaultdict(list))
        self.collections: dict[str, str] = {}
        self.steps: dict[Mode, set[int]] = defaultdict(set)
        self.points: dict[str, dict[Mode, int]] = {}

    def read_on(self) -> None:
        """Read what is new in the files."""
        for record in self._metrics.follow():
            self._add_scalars(record.at, record.values, self._measured)
        entries, self._position = self._store.entries(self._position)
        for entry in entries:
            self._add(entry)
        self.points = self._counted()

    def names(self, collection: str | None) -> list[str]:
        """Return the names of a collection, or all."""
        if collection is None:
            return list(self.points)
        if collection == _SCALARS:
            return [*self._measured, *(name for name in self._stored if name not in self._measured)]
        if collection not in COLLECTIONS:
            allowed = (*COLLECTIONS, _SCALARS)
            raise BadChoice(collection, "there is no such collection", got=collection, allowed=allowed)
        return [name for name, kind in self.collections.items() if kind == collection]

    def tensor(self, name: str) -> SavedTensor:
        """Return what there is of one name."""
        snapshots: dict[Mode, list[IndexEntry]] = {}
        for mode, groups in self._snapshots.items():
            found = [entry for layout, entries in groups.values() if name in layout[0] for entry in entries]
            if found:
                snapshots[mode] = sorted(found, key=lambda entry: entry.at.step)
        raws = dict(self._raws.get(name, {}))
        return SavedTensor(name, self.collections[name], self._numbers(name), snapshots, raws)

    def _numbers(self, name: str) -> _Numbers:
        return {**self._stored.get(name, {}), **self._measured.get(name, {})}

    def _add_scalars(self, at: Moment, values: Mapping[str, float], to: dict[str, _Numbers]) -> None:
        self.steps[at.mode].add(at.step)
        for name, value in values.items():
            to[name][at.mode].append((at, float(value)))
            self.collections.setdefault(name, "losses" if "loss" in name.lower() else _SCALARS)

    def _add(self, entry: IndexEntry) -> None:
        self.steps[entry.at.mode].add(entry.at.step)
        if entry.kind is Scalars:
            self._add_scalars(entry.at, entry.line["values"], self._stored)
        elif entry.kind is RawTensor:
            self._raws[entry.line["name"]][entry.at.mode].append(entry)
            self.collections.setdefault(entry.line["name"], entry.line["collection"])
        elif entry.kind is Snapshot:
            groups, layout = self._snapshots[entry.at.mode], entry.layout
            if id(layout) not in groups:  # snapshots of one layout share the object
                groups[id(layout)] = layout, []
                for name, collection in zip(*layout, strict=True):
                    self.collections.setdefault(name, collection)
            groups[id(layout)][1].append(entry)

    def _counted(self) -> dict[str, dict[Mode, int]]:
        points: dict[str, dict[Mode, int]] = defaultdict(dict)
        for name in self.names(_SCALARS):
            points[name] = {mode: len(values) for mode, values in self._numbers(name).items()}
        for name, modes in self._raws.items():
            points[name] = {**points[name], **{mode: len(entries) for mode, entries in modes.items()}}
        for mode, groups in self._snapshots.items():
            counts: Counter[str] = Counter()
            for (names, _), entries in groups.values():
                counts.update(dict.fromkeys(names, len(entries)))
            for name, count in counts.items():
                # A step with both values and statistics is one point.
                points[name][mode] = max(count, points[name].get(mode, 0))
        return dict(points)


def _names(scalars: Iterable[Scalars]) -> set[tuple[Mode, str]]:
    return {(record.at.mode, name) for record in scalars for name in record.values}


def _merged(
    scalars: Iterable[Scalars], stored: Iterable[SavedRecord], names: set[tuple[Mode, str]]
) -> Iterator[SavedRecord]:
    """Merge by training step, scalars first. names: of metrics.jsonl; where the store has these too, they come once."""

    def without_names() -> Iterator[SavedRecord]:
        for record in stored:
            if not isinstance(record, Scalars):
                yield record
            elif values := {name: v for name, v in record.values.items() if (record.at.mode, name) not in names}:
                yield Scalars(record.at, values)

    # Of equal steps the first argument comes first.
    return merge(scalars, without_names(), key=lambda record: record.at.train_step)


def _mode(mode: str) -> Mode:
    for known in MODES:
        if known == mode:
            return known
    raise BadChoice(f"mode {mode}", "there is no such mode", got=mode, allowed=MODES)


def _stamp(path: Path) -> tuple[int, int, int]:
    try:
        stat = path.stat()
    except FileNotFoundError:
        return (0, 0, 0)
    return (stat.st_ino, stat.st_size, stat.st_mtime_ns)
