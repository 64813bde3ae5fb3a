"""Does the debugger name the cause? Planted faults and healthy runs, in a plain PyTorch loop with the public hook.

    python benchmarks/diagnosis.py --part development --jobs 2

Parts share no network, and CIFAR-10 is in held-out alone (clearsight.testing.faults.healthy): thresholds are set on
development, figures reported on held-out. Records stay in --work, so that a second call goes on where the first was
cut, and --rejudge asks the rules as they are now about runs that were made before.
What each column means stands in docs/diagnosis.md.
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
from clearsight.testing.faults.benchmark import CONTROL_SEEDS, FAULT_SEEDS, Planned, Result, cases, examine
from clearsight.testing.faults.catalogue import FAULTS
from clearsight.testing.faults.healthy import PARTS

DOCS = Path(__file__).parents[1] / "docs" / "diagnosis.md"


def work(planned: Planned, folder: Path) -> Result:
    """One case, in a process of its own."""
    import torch

    from clearsight.debugger.rule_parser import select_rules

    torch.set_num_threads(1)
    return examine(planned, folder, shared(), select_rules("default"))


def done(file: Path) -> dict[str, Result]:
    """Results of an earlier call, by key; a torn last line is made again."""
    found: dict[str, Result] = {}
    for line in file.read_text(encoding="utf-8").splitlines() if file.is_file() else []:
        try:
            result = Result.from_json(json.loads(line))
        except json.JSONDecodeError:
            continue
        found[result.key] = result
    return found


def results(plan: Sequence[Planned], known: dict[str, Result], folder: Path, jobs: int) -> Iterator[Result]:
    """Every case's result, the known ones first."""
    yield from (known[planned.case.key] for planned in plan if planned.case.key in known)
    left = [planned for planned in plan if planned.case.key not in known]
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(jobs, mp_context=context) as pool:
        waiting = [pool.submit(work, planned, folder) for planned in left]
        for future in concurrent.futures.as_completed(waiting):
            yield future.result()


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=list(PARTS), default="smoke")
    parser.add_argument("--jobs", type=int, default=2, help="processes, of one thread each")
    parser.add_argument("--only", default="", help="a pattern: only the cases whose name it is found in")
    parser.add_argument("--seeds", type=int, default=FAULT_SEEDS, help="of each fault")
    parser.add_argument("--control-seeds", type=int, default=CONTROL_SEEDS, help="of each healthy recipe")
    parser.add_argument("--work", type=Path, default=Path("/tmp/clearsight-diagnosis"), help="records are kept here")
    parser.add_argument("--rejudge", action="store_true", help="judge anew what was made before")
    parser.add_argument("--json", type=Path, help="write the results there too")
    parser.add_argument("--write-docs", action="store_true", help=f"put the table into {DOCS.name}")
    return parser.parse_args()


def main() -> None:
    args = arguments()
    plan = [p for p in cases(args.part, args.seeds, args.control_seeds) if re.search(args.only, p.case.key)]
    args.work.mkdir(parents=True, exist_ok=True)
    file, began = args.work / f"{args.part}.jsonl", time.perf_counter()
    if args.rejudge:
        file.unlink(missing_ok=True)
    known, made = done(file), []
    for result in results(plan, known, args.work, args.jobs):
        made.append(result)
        if result.key not in known:
            with file.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(asdict(result)) + "\n")
            print(f"{len(made)}/{len(plan)} {told(result)}", flush=True)
    text = report(args.part, made, time.perf_counter() - began)
    print("", text, "", table.accuracies(made), "", "disturbed healthy runs", *table.disturbed(made), sep="\n")
    print("", "causes not named", *table.missed(made), sep="\n")
    if args.json:
        args.json.write_text(json.dumps([asdict(result) for result in made], indent=1), encoding="utf-8")
    if args.write_docs:
        write_docs(args.part, text)
        write_docs("faults", table.planted())


def told(result: Result) -> str:
    """A line of progress."""
    words = ", ".join(result.told) or "nothing"
    return f"{result.key}: accuracy {result.accuracy:.2f}, {result.seconds:.1f} s, told {words}"


def report(part: str, made: Sequence[Result], seconds: float) -> str:
    """The part's table with what it was made on."""
    faulty = sum(result.faulty for result in made)
    head = f"{faulty} faulty runs of {len(FAULTS)} faults, {len(made) - faulty} healthy runs. {machine()}."
    return "\n".join([head, "", table.table(sorted(made, key=lambda result: result.key))])


def write_docs(mark: str, text: str) -> None:
    """Put a text between its marks in the page."""
    page = DOCS.read_text(encoding="utf-8")
    begin, end = f"<!-- {mark} -->", f"<!-- end of {mark} -->"
    before, _, rest = page.partition(begin)
    _, _, after = rest.partition(end)
    DOCS.write_text(f"{before}{begin}\n{text}\n{end}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
