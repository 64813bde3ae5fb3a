"""profile: where the time goes, in a training loop of one's own and in a run that was profiled."""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from pathlib import Path
from types import TracebackType

from clearsight.core.errors import BadValue, NotFound
from clearsight.core.finding import Finding, findings_lines
from clearsight.core.guard import Guard
from clearsight.core.judge import judge
from clearsight.core.profile_folder import spans_file
from clearsight.core.run import RunFolder
from clearsight.core.safe_text import printable_line
from clearsight.debugger.rule_parser import select_rules
from clearsight.debugger.storage.saved_run import SavedRun
from clearsight.profiler.rules import PROFILER_RULES
from clearsight.workflow.display.notebook import in_notebook
from clearsight.workflow.speed.breakdown import Breakdown, check_free, conclude


def profile_of(path: str | Path) -> Breakdown:
    """Return where the time of the run in folder `path` went, whoever trained it; the run may still be growing.

    Raises NotFound where there is no run, or the run was not profiled.
    """
    folder = Path(path)
    tape = SavedRun(folder).tape()
    if not tape.profile:
        raise NotFound(
            str(folder),
            "this run was not profiled (its folder profile is empty or missing)",
            fix="Train without --profile off, or profile a script: clearsight profile -- python train.py.",
        )
    return Breakdown(profile=tape.profile, findings=judge(select_rules(book=PROFILER_RULES), tape))


def profile(
    out: str | Path, *, every: float = 0.5, full: bool = False, batch_size: int = 0, quiet: bool = False
) -> Profiling:
    """Profile a training loop: put `with clearsight.profile("runs/mine") as p:` around it, without another change.

    A step ends with the optimizer's step; other kinds of loops call `p.step(samples)`. out: the run folder, new or that
    of a `Hook` in the same loop.  every: seconds in [0.1, 60] between samples of the machine.  full: trace a few steps
    operator by operator.  batch_size: for loops without a DataLoader.  quiet: print nothing.
    Raises NotResumable where `out` holds a profile or a run of clearsight's own, BadValue for a value out of range.
    Nothing raises within and after the block: a failure of the profiler is printed once and kept in `failure`.
    """
    if batch_size < 0:
        raise BadValue(f"profile(batch_size={batch_size})", "a batch has at least one image; 0 means not known")
    return Profiling(Path(out), every=every, full=full, batch_size=batch_size, quiet=quiet)


class Profiling:
    """Profiler of the loop within a `with` block.

    findings: of the profiler's rules, once the block has ended.  failure: what could not be measured, "" for nothing.
    """

    def __init__(self, out: Path, *, every: float, full: bool, batch_size: int, quiet: bool) -> None:
        from clearsight.profiler.external.loop_inspection import current_machine, current_rank
        from clearsight.profiler.external.session import ProfilingSession
        from clearsight.profiler.recording import Recording, RecordingOptions

        self.out, self.findings, self.failure = out, list[Finding](), ""
        self._quiet, self._start = quiet, time.perf_counter()
        self._rank = current_rank()
        check_free(out)  # before anything is measured or written
        machine = replace(current_machine(), batch_size=batch_size, interval=every)
        if in_notebook():  # its process began long before this loop
            machine = replace(machine, launched=time.time())
        folder = RunFolder(out).profile
        self._session = ProfilingSession(
            folder, spans_file(folder, self._rank), machine, lambda found: self._recording.describe(found)
        )
        options = RecordingOptions(every=every, full=full)
        self._recording = Recording(folder, machine, options, rank=self._rank, loads=self._session.loads)

    def __enter__(self) -> Profiling:
        self._recording.start()  # first: the session reports to it
        self._session.start(lambda: self._recording)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._session.close()  # first: no hook may report to a closed recording
        self._recording.close()
        parts = (self._session.failure, self._recording.failure)
        self.failure = "; ".join(part for part in parts if part)
        # One process judges and reports; the others have written their part by themselves.
        if self._rank == 0:
            status = "completed" if error is None else "failed" if isinstance(error, Exception) else "interrupted"
            self._conclude(status)

    def step(self, samples: int | None = None) -> None:
        """End a training step; from the first call on, only this method does. samples: its images, None: as seen."""
        self._session.mark_step(samples)

    def _conclude(self, status: str) -> None:
        """Judge and report; a failure here must not fail the script that was measured."""
        guard = Guard("the judging of the profile")
        self.findings = guard.run_or([], self._judge, status)
        if guard.off:
            self.failure = "; ".join(filter(None, (self.failure, guard.reason)))
            return
        if not self._quiet:
            failure = [f"failure  {self.failure}"] if self.failure else []
            report = f"report   {RunFolder(self.out).report}"
            # To stderr: the output of the script may go into a file or a pipe.
            lines = map(printable_line, [*findings_lines(self.findings), *failure, report])
            print(*lines, sep="\n", file=sys.stderr)

    def _judge(self, status: str) -> list[Finding]:
        from clearsight.profiler.external.collect import collect_hot_lines

        collect_hot_lines(RunFolder(self.out).profile)
        seconds = time.perf_counter() - self._start
        return conclude(self.out, status=status, command=sys.argv, seconds=seconds)
