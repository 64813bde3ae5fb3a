"""Measure how well the debugger names causes: planted faults and healthy runs in a plain PyTorch loop with the hook.

    python benchmarks/diagnosis.py --part development --jobs 2

Parts share no network, and CIFAR-10 is in held-out alone (clearsight.testing.faults.catalogue): thresholds are set on
development, figures reported on held-out. Runs stay in --work, so a second call continues where the first was
interrupted, and --rejudge applies the current rules to the existing runs.
docs/diagnosis.md explains the columns.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import json
import multiprocessing
import os
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

from measured import machine, shared

from clearsight.testing.faults import table
from clearsight.testing.faults.benchmark import CONTROL_SEEDS, FAULT_SEEDS, Case, Result, cases, examine
from clearsight.testing.faults.catalogue import FAULTS, PARTS

DOCS = Path(__file__).parents[1] / "docs" / "diagnosis.md"


def work(case: Case, folder: Path) -> Result:
    """Examine a case, in a process of its own."""
    import torch

    from clearsight.debugger.rule_parser import select_rules

    torch.set_num_threads(1)
    return examine(case, folder, shared(), select_rules("default"))


def done(file: Path) -> dict[str, Result]:
    """Return the results of an earlier call, by key; an incomplete last line is left out."""
    by_key: dict[str, Result] = {}
    for line in file.read_text(encoding="utf-8").splitlines() if file.is_file() else []:
        try:
            result = Result.from_json(json.loads(line))
        except json.JSONDecodeError:
            continue
        by_key[result.key] = result
    return by_key


def results(plan: Sequence[Case], existing: dict[str, Result], folder: Path, jobs: int) -> Iterator[Result]:
    """Yield every case's result, the existing ones first."""
    yield from (existing[case.key] for case in plan if case.key in existing)
    open_cases = [case for case in plan if case.key not in existing]
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(jobs, mp_context=context) as pool:
        futures = [pool.submit(work, case, folder) for case in open_cases]
        for future in concurrent.futures.as_completed(futures):
            yield future.result()


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=list(PARTS), default="smoke")
    parser.add_argument("--jobs", type=int, default=2, help="processes, of one thread each")
    parser.add_argument("--only", default="", help="regular expression: only cases whose name matches")
    parser.add_argument("--seeds", type=int, default=FAULT_SEEDS, help="seeds of each fault")
    parser.add_argument("--control-seeds", type=int, default=CONTROL_SEEDS, help="seeds of each healthy recipe")
    parser.add_argument("--work", type=Path, default=Path("/tmp/clearsight-diagnosis"), help="folder of the runs")
    parser.add_argument("--rejudge", action="store_true", help="judge the existing runs again")
    parser.add_argument("--json", type=Path, help="write the results to this file too")
    parser.add_argument("--write-docs", action="store_true", help=f"put the table into {DOCS.name}")
    return parser.parse_args()


def main() -> None:
    args = arguments()
    plan = [case for case in cases(args.part, args.seeds, args.control_seeds) if re.search(args.only, case.key)]
    args.work.mkdir(parents=True, exist_ok=True)
    file, start = args.work / f"{args.part}.jsonl", time.perf_counter()
    if args.rejudge:
        file.unlink(missing_ok=True)
    existing, finished = done(file), []
    for result in results(plan, existing, args.work, args.jobs):
        finished.append(result)
        if result.key not in existing:
            with file.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(asdict(result)) + "\n")
            print(f"{len(finished)}/{len(plan)} {progress_line(result)}", flush=True)
    text = report(args.part, finished, time.perf_counter() - start)
    print("", text, "", table.accuracies(finished), sep="\n")
    print("", "healthy runs with a false alarm", *table.disturbed(finished), sep="\n")
    print("", "causes that were not named", *table.missed(finished), sep="\n")
    if args.json:
        args.json.write_text(json.dumps([asdict(result) for result in finished], indent=1), encoding="utf-8")
    if args.write_docs:
        write_docs(args.part, text)
        write_docs("faults", table.planted())


def progress_line(result: Result) -> str:
    """Return a line of progress."""
    words = ", ".join(result.root_causes) or "nothing"
    return f"{result.key}: accuracy {result.accuracy:.2f}, {result.seconds:.1f} s, root causes {words}"


def report(part: str, finished: Sequence[Result], seconds: float) -> str:
    """Return the part's table and its circumstances."""
    faulty = sum(result.faulty for result in finished)
    head = f"{faulty} faulty runs of {len(FAULTS)} faults, {len(finished) - faulty} healthy runs. {machine()}."
    return "\n".join([head, "", table.table(sorted(finished, key=lambda result: result.key))])


def write_docs(name: str, text: str) -> None:
    """Put a text between its marks in the page."""
    page = DOCS.read_text(encoding="utf-8")
    begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    before, _, rest = page.partition(begin)
    _, _, after = rest.partition(end)
    DOCS.write_text(f"{before}{begin}\n{text}\n{end}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
