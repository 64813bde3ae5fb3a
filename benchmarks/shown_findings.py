"""What became of every message of the debugger that a run showed: true at the end, resolved, or taken back in silence.

    python benchmarks/shown_findings.py FOLDER...

FOLDER: a run of `clearsight train`, whose output, log.txt and findings.live.jsonl are compared with findings.jsonl; or
the runs that benchmarks/loop_diagnosis.py has left in its --work, folder "runs". Those were judged at their end alone:
here the rules are asked 40 times in each, and what they find is shown and resolved as in a run of `clearsight train`.
Exits with 1 if anything was taken back in silence.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from measured import machine

from clearsight.core.finding import Finding, Severity, read_findings
from clearsight.core.judge import judge, root_findings
from clearsight.core.resolution import ShownFindings
from clearsight.core.run import RunFolder
from clearsight.debugger.rule_parser import select_rules
from clearsight.debugger.storage.saved_run import SavedRun

_CHECKS = 40
_LOUD = (Severity.SEVERE, Severity.WARNING)


def replayed(folder: Path) -> tuple[list[Finding], list[Finding]]:
    """Return what a run would have shown and resolved in 40 checks, in order of time, and its last verdicts."""
    rules, tape = select_rules("default"), SavedRun(folder).tape()
    shown, log, announced = ShownFindings(), list[Finding](), set[str]()
    for step in np.unique(np.linspace(0, tape.done(), _CHECKS + 1).astype(int)[1:]):
        judged = judge(rules, tape.until(int(step)))
        resolved = shown.resolve(judged, int(step))
        announced -= {finding.rule for finding in resolved}
        new = [f for f in root_findings(judged) if f.severity in _LOUD and f.rule not in announced]
        announced |= {finding.rule for finding in new}
        for finding in new:
            shown.show(finding, int(step))
        log += [*resolved, *new]
    last = judge(rules, tape)
    log += shown.resolve(last, tape.done())
    return log, shown.attach(last)


def outcomes(log: Sequence[Finding], last: Sequence[Finding], text: str | None) -> Iterator[tuple[str, str]]:
    """Yield (outcome, rule) of every rule that showed something. text: of log.txt, None where there is none."""
    for rule in dict.fromkeys(finding.rule for finding in log if finding.resolved is None):
        at_end = [finding for finding in last if finding.rule == rule]
        found = [finding for finding in at_end if finding.found]
        line = f"resolved {rule} at step "
        if any(finding.severity in _LOUD for finding in found):
            is_root = any(finding.group in ("", rule) for finding in found)
            yield "true at the end" if is_root else "true at the end, as a consequence of another", rule
        elif found:
            yield "true at the end, as a note", rule
        elif any(finding.resolved for finding in at_end) and (text is None or line in text):
            yield "resolved", rule
        else:
            yield "taken back in silence", rule


def runs_in(folder: Path) -> Iterable[Path]:
    """Return the folder itself if it is a run, else the runs in it."""
    return [folder] if RunFolder(folder).metrics().is_file() else sorted(p for p in folder.iterdir() if p.is_dir())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--only", default="", help="only runs whose folder's name begins with this, such as healthy")
    args = parser.parse_args()
    counts, runs, loud = Counter[str](), 0, 0
    for folder in [run for parent in args.folders for run in runs_in(parent) if run.name.startswith(args.only)]:
        files = RunFolder(folder)
        if not files.metrics().is_file():  # the script stopped before its first step
            continue
        if files.is_run:
            log = read_findings(files.live_findings) if files.live_findings.is_file() else []
            last, text = read_findings(files.findings), files.log.read_text(encoding="utf-8")
        else:
            (log, last), text = replayed(folder), None
        found = list(outcomes(log, last, text))
        runs, loud = runs + 1, loud + bool(found)
        counts.update(outcome for outcome, _ in found)
        for outcome, rule in found:
            print(f"{folder.name}: {rule} {outcome}", flush=True)
    print(f"{runs} runs, {loud} of them showed a warning at any time: {dict(counts)}. {machine()}")
    sys.exit(bool(counts["taken back in silence"]))


if __name__ == "__main__":
    main()
