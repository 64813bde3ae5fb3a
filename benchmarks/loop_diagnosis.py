"""Measure how well the debugger names causes in other people's scripts, with planted faults in nine styles of loops.

    python benchmarks/loop_diagnosis.py --part development --jobs 1 --work FOLDER

The scripts are watched by the two lines of the README, or by the callback of their trainer, and tell it nothing else.
The parts share no style, no network and no data. A third of the kinds is in held-out alone, and unseen, written
without a look at the code of the rules, adds kinds of its own. Runs and results stay
in --work, so a second call continues; --rejudge applies the current rules to the runs that are there and trains none.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import importlib.util
import json
import multiprocessing
import os
import re
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

from diagnosis import DOCS, write_docs
from measured import machine, shared, spread

from clearsight.testing.faults.loops import table
from clearsight.testing.faults.loops.cases import PARTS, LoopCase, cases
from clearsight.testing.faults.loops.diagnosis import LoopResult, examine

# Packages that styles need.
_PACKAGES = {
    "lightning": "lightning",
    "hugging_face": "transformers",
    "trainer_class": "sklearn",
    "accelerated": "accelerate",
}


def work(case: LoopCase, folder: Path) -> LoopResult:
    """Examine a case in a worker process."""
    import torch

    from clearsight.debugger.rule_parser import select_rules

    torch.set_num_threads(1)
    return examine(case, folder, shared(), select_rules("default"))


def plan(part: str, count: int | None, only: str) -> tuple[list[LoopCase], list[str]]:
    """Return the cases that match, with the healthy ones that they are compared with, and why styles are skipped."""
    missing = {style: package for style, package in _PACKAGES.items() if importlib.util.find_spec(package) is None}
    every = [case for case in cases(part, count) if case.pair.style not in missing]
    matching = [case for case in every if re.search(only, case.key)]
    keys = {case.key for case in matching} | {case.twin.key for case in matching}
    styles = {pair.style for pair in PARTS[part]}
    reasons = [f"{style}: {package} is not installed" for style, package in missing.items() if style in styles]
    return [case for case in every if case.key in keys], reasons


def done(file: Path) -> dict[str, LoopResult]:
    """Return the results of an earlier call, by key; an incomplete last line is left out."""
    by_key: dict[str, LoopResult] = {}
    for line in file.read_text(encoding="utf-8").splitlines() if file.is_file() else []:
        try:
            result = LoopResult.from_json(json.loads(line))
        except json.JSONDecodeError:
            continue
        by_key[result.key] = result
    return by_key


def results(
    planned: Sequence[LoopCase], existing: dict[str, LoopResult], args: argparse.Namespace
) -> Iterator[LoopResult]:
    """Yield every case's result, the existing ones first."""
    yield from (existing[case.key] for case in planned if case.key in existing)
    open_cases = [case for case in planned if case.key not in existing]
    if args.rejudge:
        open_cases = [case for case in open_cases if (args.work / "runs" / case.key / "score.json").is_file()]
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(args.jobs, mp_context=context) as pool:
        futures = [pool.submit(work, case, args.work) for case in open_cases]
        for future in concurrent.futures.as_completed(futures):
            yield future.result()


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=list(PARTS), default="smoke")
    parser.add_argument("--jobs", type=int, default=1, help="processes, of one thread each")
    parser.add_argument("--only", default="", help="regular expression: only cases whose key matches")
    parser.add_argument("--cases", type=int, help="cases of each kind of fault, by default those of the part")
    parser.add_argument(
        "--work", type=Path, default=Path(tempfile.gettempdir()) / "clearsight-loops", help="folder of the runs"
    )
    parser.add_argument("--rejudge", action="store_true", help="judge the existing runs again, and train none")
    parser.add_argument("--write-docs", action="store_true", help=f"put the table into {DOCS.name}")
    return parser.parse_args()


def main() -> None:
    args = arguments()
    planned, skipped = plan(args.part, args.cases, args.only)
    args.work.mkdir(parents=True, exist_ok=True)
    file, start = args.work / f"{args.part}.jsonl", time.perf_counter()
    existing = done(file)
    if args.rejudge:
        keys = {case.key for case in planned}
        existing = {key: result for key, result in existing.items() if key not in keys}
        file.write_text("".join(json.dumps(asdict(r)) + "\n" for r in existing.values()), encoding="utf-8")
    finished = []
    for result in results(planned, existing, args):
        finished.append(result)
        if result.key not in existing:
            with file.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(asdict(result)) + "\n")
            print(f"{len(finished)}/{len(planned)} {progress_line(result)}", flush=True)
    finished.sort(key=lambda result: result.key)
    print("", report(finished, skipped), "", f"{time.perf_counter() - start:.0f} s. {machine()}", sep="\n")
    if args.write_docs:
        write_docs("loops", f"Part {args.part}. {machine()}.\n\n{table.table(finished)}")


def progress_line(result: LoopResult) -> str:
    """Return a line of progress."""
    causes = result.error or ", ".join(result.root_causes) or "nothing"
    figures = f"accuracy {result.honest:.2f} (reported {result.reported:.2f}), {result.seconds:.1f} s"
    return f"{result.key}: {figures}, {causes}"


def report(finished: Sequence[LoopResult], skipped: Sequence[str]) -> str:
    """Return the table, and what was missed, disturbed, stopped or skipped."""
    sections = {
        "causes that were not named": table.missed(finished),
        "healthy runs that were disturbed": table.disturbed(finished),
        "runs that an error stopped": table.errors(finished),
        "styles that were skipped": skipped,
    }
    lists = ["\n".join([f"{title}:", *(f"- {line}" for line in lines)]) for title, lines in sections.items() if lines]
    seconds = f"Seconds of a run: {spread([result.seconds for result in finished])}." if finished else ""
    return "\n\n".join([table.table(finished), table.accuracies(finished), *lists, seconds])


if __name__ == "__main__":
    main()
