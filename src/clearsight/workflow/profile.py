"""profile: where the time goes, of somebody's own loop and of a run that was profiled."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from clearsight.core.errors import BadValue, NotFound, NotResumable
from clearsight.core.finding import Finding, findings_lines, read_findings, write_findings
from clearsight.core.judge import judge
from clearsight.core.profile import Floats, Machine, Profile
from clearsight.core.profile_folder import read_profile, spans_file
from clearsight.debugger.rule_parser import select_rules
from clearsight.debugger.storage.saved_run import SavedRun
from clearsight.debugger.storage.tape import Tape
from clearsight.profiler.rules import PROFILER_RULES

log = logging.getLogger(__name__)

FOLDER = "profile"  # in a run's
_FINDINGS = "findings.jsonl"
_TOLD = (
    *("rule", "verdict", "severity", "value", "threshold", "unit", "steps", "subject", "cause", "fix", "advice"),
    *("confidence", "group", "points"),
)


@dataclass(frozen=True, kw_only=True)
class Breakdown:
    """Where the time of a run went, and what the profiler's rules say to it, grouped, the root cause first."""

    profile: Profile
    findings: Sequence[Finding]

    def steps(self) -> dict[str, float]:
        """Training steps: how many ("count"), images in them ("samples") and per second, and seconds of each.

        mean, p50, p95 and max of the seconds, and images_per_second, are there where steps were timed.
        """
        table = self.profile.steps()
        told = {"count": float(len(table)), "samples": float(table.samples.sum())}
        if not len(table):
            return told
        spread = _spread(table.seconds, (50, 95))
        return {
            **told,
            **{name: spread[name] for name in ("mean", "p50", "p95", "max")},
            "images_per_second": float(table.samples.sum() / max(table.seconds.sum(), 1e-9)),
        }

    def phases(self) -> dict[str, dict[str, float]]:
        """Per phase of a step seconds ("mean", "p50", "p95") and its "share" of all step time, in [0, 1].

        A step without the phase counts as 0. "rest" is what no phase covers.
        """
        seconds = self.profile.steps().seconds
        columns = {name: np.nan_to_num(self.profile.phase(name)) for name in self.profile.phases()}
        if columns:
            columns["rest"] = np.maximum(0.0, seconds - sum(columns.values()))
        whole = max(float(seconds.sum()), 1e-9)
        return {name: {**_phase(column), "share": float(column.sum() / whole)} for name, column in columns.items()}

    def gauges(self) -> dict[str, dict[str, float]]:
        """Per gauge "min", "p50", "p95", "p99" and "max", over the time in which training steps ran where some did."""
        told: dict[str, dict[str, float]] = {}
        for name in self.profile.gauges():
            whole = self.profile.gauge(name)
            readings = self.profile.within(whole)
            values = readings.values if len(readings) else whole.values
            if len(values):
                spread = _spread(values, (50, 95, 99))
                told[name] = {key: spread[key] for key in ("min", "p50", "p95", "p99", "max")}
        return told

    def to_json(self) -> dict[str, Any]:
        """The shape of `clearsight profile --json`."""
        told = [finding.to_json() for finding in self.findings]
        return {
            "steps": self.steps(),
            "phases": self.phases(),
            "gauges": self.gauges(),
            "findings": [{name: _finite(each[name]) for name in _TOLD} for each in told],
        }


def profile_of(path: str | Path) -> Breakdown:
    """Where the time of the run in folder `path` went, whoever trained it, while it goes on and long after.

    Raises NotFound where there is no run, or nobody profiled it.
    """
    folder = Path(path)
    tape = SavedRun(folder).tape()
    if not tape.profile:
        raise NotFound(
            str(folder),
            "this run was not profiled (its folder profile is empty or not there)",
            fix="Train without --profile off, or profile a script: clearsight profile -- python train.py.",
        )
    return Breakdown(profile=tape.profile, findings=judge(select_rules(book=PROFILER_RULES), tape))


def profile(
    out: str | Path, *, every: float = 0.5, full: bool = False, batch_size: int = 0, quiet: bool = False
) -> Profiling:
    """Profile a training loop of one's own: `with clearsight.profile("runs/mine") as p:` around it, no other change.

    A step ends with the optimizer's; a loop of another kind says it with `p.step(samples)`. out: the run folder, new or
    that of a `Hook` in the same loop.  every: seconds in [0.1, 60] between looks at the machine.  full: trace a few
    steps operator by operator.  batch_size: where no DataLoader tells it.  quiet: print nothing.
    Raises NotResumable where `out` holds a profile or a run of clearsight's own, BadValue for a value out of range.
    Within and after the block nothing raises: what fails is printed once and kept in `failure`.
    """
    if batch_size < 0:
        raise BadValue(f"profile(batch_size={batch_size})", "a batch has at least one image; 0 means not known")
    return Profiling(Path(out), every=every, full=full, batch_size=batch_size, quiet=quiet)


class Profiling:
    """What measures between `with` and the end of the block.

    findings: of the profiler's rules, afterwards.  failure: what could not be measured, "" where nothing went wrong.
    """

    def __init__(self, out: Path, *, every: float, full: bool, batch_size: int, quiet: bool) -> None:
        from clearsight.profiler.external.loop_inspection import current_machine, current_rank
        from clearsight.profiler.external.session import ProfilingSession
        from clearsight.profiler.recording import Recording

        self.out, self.findings, self.failure = out, list[Finding](), ""
        self._quiet, self._began = quiet, time.perf_counter()
        self._rank = current_rank()
        check_free(out)
        machine = replace(current_machine(), batch_size=batch_size, interval=every)
        folder = out / FOLDER
        self._following = ProfilingSession(folder, spans_file(folder, self._rank), machine, self._describe)
        self._recording = Recording(
            folder,
            machine,
            every=every,
            rank=self._rank,
            cuda=machine.device == "cuda",
            full=full,
            loads=self._following.loads,
        )

    def __enter__(self) -> Profiling:
        self._recording.start()
        self._following.start(lambda: self._recording)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._following.close()
        self._recording.close()
        parts = (self._following.failure, self._recording.failure)
        self.failure = "; ".join(part for part in parts if part)
        if self._rank == 0:
            status = "completed" if error is None else "failed" if isinstance(error, Exception) else "interrupted"
            self._conclude(status)

    def step(self, samples: int | None = None) -> None:
        """A training step ends here, and from now on nowhere else. samples: images in it, None for what was seen."""
        self._following.said_step(samples)

    def _describe(self, machine: Machine) -> None:
        self._recording.describe(machine)

    def _conclude(self, status: str) -> None:
        """Judge and report. Whatever fails here must not fail the script that was measured."""
        from clearsight.profiler.external.collect import tidy

        try:
            tidy(self.out / FOLDER)
            seconds = time.perf_counter() - self._began
            self.findings = conclude(self.out, status=status, command=sys.argv, seconds=seconds)
        except Exception as error:
            self.failure = "; ".join(filter(None, (self.failure, f"{type(error).__name__}: {error}")))
            log.warning("the profile could not be judged: %s", self.failure)
            return
        if not self._quiet:
            told = [f"failure  {self.failure}"] if self.failure else []
            print(
                *findings_lines(self.findings), *told, f"report   {self.out / 'report.html'}", sep="\n", file=sys.stderr
            )


def check_free(out: Path) -> None:
    """Raise NotResumable where a profile cannot go into the folder `out`."""
    if (out / "run.json").exists() or (out / FOLDER).exists():
        raise NotResumable(str(out), "a run is there already", fix="Choose another folder.")


def conclude(out: Path, *, status: str, command: Sequence[str], seconds: float) -> list[Finding]:
    """Judge what was measured in the run folder `out`, write findings and report; returns the profiler's findings.

    What a Hook found in the same loop stays in findings.jsonl.
    """
    from clearsight.workflow.run.report import write_foreign_report

    ours = set(PROFILER_RULES.names())
    tape = _ended(out)
    findings = judge(select_rules(book=PROFILER_RULES), tape)
    before = [finding for finding in read_findings(out / _FINDINGS) if finding.rule not in ours]
    write_findings(out / _FINDINGS, [*before, *findings])
    write_foreign_report(out, name=out.name, status=status, command=command, seconds=seconds)
    return findings


def _ended(out: Path) -> Tape:
    """The run as the rules see it, which is over."""
    trial = SavedRun(out)
    measured = read_profile(out / FOLDER)
    facts = trial.facts
    if not facts.batch_size:
        facts = replace(facts, batch_size=measured.machine.batch_size)
    return Tape(facts, ended=True, profile=measured)


def _phase(seconds: Floats) -> dict[str, float]:
    spread = _spread(seconds, (50, 95))
    return {name: spread[name] for name in ("mean", "p50", "p95")}


def _spread(values: Floats, shares: Sequence[int]) -> dict[str, float]:
    told = {"min": float(values.min()), "mean": float(values.mean()), "max": float(values.max())}
    return told | {f"p{share}": float(np.percentile(values, share)) for share in shares}


def _finite(value: Any) -> Any:
    """JSON has no infinity and no NaN: they are null."""
    if isinstance(value, float) and not np.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {key: _finite(inner) for key, inner in value.items()}
    return [_finite(inner) for inner in value] if isinstance(value, list | tuple) else value
