"""CaptureSession: the probe on a model, and the tape and the files that receive its records."""

from __future__ import annotations

from pathlib import Path

from clearsight.core.context import RunContext
from clearsight.core.guard import Guard
from clearsight.core.tensors import RawTensor, SavedRecord
from clearsight.debugger.capture.probe import Probe
from clearsight.debugger.capture.save_plan import SavePlan
from clearsight.debugger.storage.recorder import Recorder
from clearsight.debugger.storage.tape import Tape
from clearsight.debugger.storage.tensor_store import FileTensorStore


class CaptureSession:
    """One training that is observed, by our own loop (LiveDebugger) or by somebody else's (Hook).

    tape: what the rules see.  store: what stays on disk.  metrics: file of the scalars; None where the loop writes
    them itself.  tape_limit: elements of a whole tensor above which it goes to disk alone; None for no limit.
    guard: turned off by the first error of any part; one that is passed in must release the probe on failure.
    """

    def __init__(
        self,
        plan: SavePlan,
        tape: Tape,
        store: FileTensorStore,
        *,
        metrics: Path | None = None,
        tape_limit: int | None = None,
        guard: Guard | None = None,
    ) -> None:
        self.tape, self.store = tape, store
        self._metrics, self._tape_limit = metrics, tape_limit
        # The tape for rules that run beside the training, the recorder for everyone who reads the run later.
        self.recorder = Recorder(store, metrics)
        self.probe = Probe(plan, self.add, planned_steps=tape.context.steps, guard=guard)
        self.guard = self.probe.guard

    def add(self, record: SavedRecord) -> None:
        """Put a record on the tape and on its way to disk."""
        limit = self._tape_limit
        if limit is None or not isinstance(record, RawTensor) or record.value.size <= limit:
            self.tape.add(record)
        self.recorder.add(record)

    def set_context(self, context: RunContext) -> None:
        """Set the run's context, for the rules and on disk."""
        self.tape.context = context
        self.store.write_context(context)

    def rewind(self, train_step: int) -> None:
        """Drop everything after a training step, for a run that goes on from an earlier checkpoint."""
        self.recorder.close()  # first: a record that is still on its way would be written behind the cut
        self.store.rewind(train_step)
        # A new recorder: a closed one has ended its thread.
        self.recorder = Recorder(self.store, self._metrics)
        self.tape = self.tape.until(train_step)

    def close(self) -> None:
        """Leave the model and write all that is left; may be called twice."""
        self.probe.detach()
        self.recorder.close()
