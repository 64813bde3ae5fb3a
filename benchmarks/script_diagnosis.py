"""Measure how well the debugger names causes in whole training scripts, with faults that are edits of their text.

    python benchmarks/script_diagnosis.py [NAME ...] [--only REGEX] [--jobs 2] [--work FOLDER] [--write-docs]

Every script in benchmarks/scripts is a program of its own with the README's two lines in it. Beside it lies a table of
edits: healthy variants and faults, with the rules that name each, written before the first run was judged. A run is the
edited text in a process of its own; the model that it leaves in `final_model` is evaluated on correctly prepared images
that it has not trained on, and `reported` is the accuracy that the author reads. Runs stay in --work, so a second call
continues, and applies the current rules to the runs that are there.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import copy
import hashlib
import json
import multiprocessing
import os
import re
import runpy
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

from diagnosis import DOCS, write_docs
from measured import machine, shared, spread

from clearsight.testing.faults.loops.table import MIN_HARM, markdown, share

SCRIPTS = Path(__file__).parent / "scripts"
TIMEOUT = 300.0  # seconds of a script
FIRST = 2  # root causes that a reader acts on
VERDICTS = ("named", "near", "misleading", "nothing")


@dataclass(frozen=True, kw_only=True)
class Case:
    """Edited text of a script. table: its images and their preparation.  fault: its own table, {} if healthy."""

    script: str
    name: str
    seed: int
    text: str
    table: Mapping[str, Any]
    fault: Mapping[str, Any]

    @property
    def key(self) -> str:
        """Folder name of the run, different for another text."""
        digest = hashlib.sha256((self.text + json.dumps(self.table)).encode()).hexdigest()[:8]
        return f"{self.script}-{self.name}-{self.seed}-{digest}"

    @property
    def images(self) -> str:
        """Folder name of the images."""
        return f"{self.table['data']}-{self.table['side']}-{self.table['train']}-{self.seed}"


@dataclass(frozen=True, kw_only=True)
class Score:
    """Accuracies of a run: reported by its script, and honest, on correctly prepared images. error: what ended it."""

    reported: float = 0.0
    honest: float = 0.0
    seconds: float = 0.0
    error: str = ""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Run with its rules' verdict. at_end: root causes.  shown: those, or the first ones at ten times before."""

    case: Case
    score: Score
    harm: float
    at_end: tuple[str, ...]
    shown: tuple[str, ...]

    @property
    def counts(self) -> bool:
        """Return True for a fault that did harm."""
        return bool(self.case.fault) and not self.score.error and self.harm >= MIN_HARM

    @property
    def verdict(self) -> str:
        """What the first root causes say about the fault."""
        first = self.at_end[:FIRST]
        if any(rule in self.case.fault["accepted"] for rule in first):
            return "named"
        if any(rule in self.case.fault.get("near", ()) for rule in first):
            return "near"
        return "misleading" if first else "nothing"


def cases(script: str) -> Iterator[Case]:
    """Yield the cases of a script: the unchanged text with two seeds, then its healthy variants and faults."""
    text = (SCRIPTS / f"{script}.py").read_text(encoding="utf-8")
    table = tomllib.loads((SCRIPTS / f"{script}.toml").read_text(encoding="utf-8"))
    healthy, faults = table.pop("healthy"), table.pop("fault")
    for seed in (0, 1):
        yield Case(script=script, name="healthy", seed=seed, text=text, table=table, fault={})
    for variant in healthy:
        changed = edited(text, variant["replace"], variant["name"])
        yield Case(script=script, name=f"healthy-{variant['name']}", seed=0, text=changed, table=table, fault={})
    for fault in faults:
        changed = edited(text, fault["replace"], fault["name"])
        yield Case(script=script, name=fault["name"], seed=0, text=changed, table=table, fault=fault)


def edited(text: str, edits: Sequence[Sequence[str]], name: str) -> str:
    """Return the text with every old part, which must stand in it once, replaced."""
    for old, new in edits:
        if text.count(old) != 1:
            raise ValueError(f"{name}: the text to replace stands {text.count(old)} times in the script: {old!r}")
        text = text.replace(old, new)
    return text


def images(table: Mapping[str, Any], seed: int) -> Any:
    """Return the images of a script."""
    from clearsight.testing.faults.loops.data import load
    from clearsight.testing.faults.loops.setup import LoopSettings

    return load(table["data"], table["side"], LoopSettings(train_size=table["train"], batch_size=1), "", seed, shared())


def write_images(table: Mapping[str, Any], seed: int, folder: Path) -> None:
    """Write images as folders of PNG files, and as one .npz file, which comes last."""
    import numpy as np
    from PIL import Image

    sets, arrays = images(table, seed), {}
    for split, part in (("train", sets.train), ("valid", sets.valid)):
        pixels = np.stack([np.asarray(image) for image in part.pixels])
        for index, (image, label) in enumerate(zip(pixels, part.labels, strict=True)):
            file = folder / split / f"class{label:02d}" / f"{index:04d}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(file)
        arrays |= {f"x_{split}": pixels, f"y_{split}": np.asarray(part.labels, dtype=np.int64)}
    np.savez(folder / "images.npz", **arrays)


def run(case: Case, work: Path) -> Score:
    """Run a case in a process of its own, or read its score where it exists."""
    folder = work / "runs" / case.key
    if (folder / "score.json").is_file():
        return Score(**json.loads((folder / "score.json").read_text(encoding="utf-8")))
    shutil.rmtree(folder, ignore_errors=True)  # of a call that was interrupted
    folder.mkdir(parents=True)
    (folder / "train.py").write_text(case.text, encoding="utf-8")
    places = {
        "DATA": str(work / "images" / case.images),
        "OUT": str(folder / "run"),
        "CLEARSIGHT_SHARED": str(shared().resolve()),
    }
    environment = os.environ | places | {"SEED": str(case.seed), "OMP_NUM_THREADS": "1"}
    words = [sys.executable, __file__, "--execute", str(folder), json.dumps(dict(case.table) | {"seed": case.seed})]
    start, error = time.perf_counter(), ""
    with (folder / "log.txt").open("wb") as log:
        try:
            code = subprocess.run(words, env=environment, stdout=log, stderr=log, timeout=TIMEOUT).returncode
        except subprocess.TimeoutExpired:
            code, error = 1, f"not finished after {TIMEOUT:.0f} s"
    if code and not error:
        error = ((folder / "log.txt").read_text(encoding="utf-8", errors="replace").splitlines() or [f"exit {code}"])[
            -1
        ]
    accuracies = {} if error else json.loads((folder / "accuracies.json").read_text(encoding="utf-8"))
    score = Score(**accuracies, seconds=time.perf_counter() - start, error=error[:200])
    (folder / "score.json").write_text(json.dumps(asdict(score)), encoding="utf-8")
    return score


def execute(folder: Path, table: Mapping[str, Any]) -> None:
    """Run the script of a folder in this process, and write its accuracies."""
    import numpy as np
    import torch

    names = runpy.run_path(str(folder / "train.py"), run_name="__main__")
    honest = images(table, table["seed"]).honest
    pixels = torch.from_numpy(np.stack([np.asarray(image) for image in honest.pixels])).permute(0, 3, 1, 2) / 255
    mean, std = (torch.tensor(table[key]).reshape(1, -1, 1, 1) for key in ("mean", "std"))
    model = copy.deepcopy(names["final_model"]).eval()
    with torch.no_grad():
        logits = torch.cat([model(part) for part in torch.split((pixels - mean) / std, 80)])
    predictions = (logits[:, 0] > 0).long() if logits.shape[1] == 1 else logits.argmax(dim=1)
    accuracy = float((predictions == torch.from_numpy(np.asarray(honest.labels))).float().mean())
    accuracies = {"honest": accuracy, "reported": float(names["reported"])}
    (folder / "accuracies.json").write_text(json.dumps(accuracies), encoding="utf-8")


def judge(case: Case, work: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the root causes at the end of a run, and those or the first ones shown before."""
    from clearsight.debugger.rule_parser import select_rules
    from clearsight.testing.faults.loops.diagnosis import diagnose

    causes, interim, _ = diagnose(work / "runs" / case.key / "run", select_rules("default"))
    return causes, causes or next((rules for _, rules in interim if rules), ())


def examine(case: Case, work: Path) -> tuple[Score, tuple[str, ...], tuple[str, ...]]:
    """Run and judge a case, in a worker process."""
    score = run(case, work)
    return score, *judge(case, work)


def outcomes(chosen: Sequence[Case], work: Path, jobs: int) -> Iterator[Outcome]:
    """Yield the outcomes; the unchanged script with seed 0 is what harm is measured against."""
    for case in chosen:
        folder = work / "images" / case.images
        if not (folder / "images.npz").is_file():
            write_images(case.table, case.seed, folder)
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(jobs, mp_context=context) as pool:
        futures = {pool.submit(examine, case, work): case for case in chosen}
        references: dict[str, float] = {}
        waiting: list[tuple[Case, Any]] = []
        for future in concurrent.futures.as_completed(futures):
            waiting.append((futures[future], future.result()))
            for case, (score, _, _) in waiting:
                if (case.name, case.seed) == ("healthy", 0):
                    references[case.script] = score.honest
            for case, (score, at_end, shown) in [item for item in waiting if item[0].script in references]:
                cost = references[case.script] - score.honest
                if case.fault.get("reports"):
                    cost = max(cost, abs(score.reported - score.honest))
                yield Outcome(case=case, score=score, harm=cost, at_end=at_end, shown=shown)
            waiting = [item for item in waiting if item[0].script not in references]


def line(outcome: Outcome) -> str:
    """Return a line about a run."""
    case, score = outcome.case, outcome.score
    said = f"{outcome.verdict}: " if outcome.counts else ""
    accuracies = f"accuracy {score.honest:.2f} (reported {score.reported:.2f}), harm {outcome.harm:+.2f}"
    causes = ", ".join(outcome.shown if not case.fault else outcome.at_end) or "-"
    return f"{case.script} {case.name} {case.seed}: {accuracies}, {said}{causes} {score.error}".rstrip()


def summary(found: Sequence[Outcome]) -> str:
    """Return the totals in Markdown, for all faults and for those that are of a kind that is in no other benchmark."""
    harmful = [outcome for outcome in found if outcome.counts]
    groups = {
        "all": harmful,
        "kinds of the other benchmarks": [outcome for outcome in harmful if outcome.case.fault.get("known")],
        "new kinds": [outcome for outcome in harmful if not outcome.case.fault.get("known")],
    }
    rows = []
    for word in VERDICTS:
        counts = {name: Counter(outcome.verdict for outcome in group) for name, group in groups.items()}
        rows.append((word, *(share(counts[name][word], len(group)) for name, group in groups.items())))
    healthy = [outcome for outcome in found if not outcome.case.fault]
    disturbed = share(sum(bool(outcome.shown) for outcome in healthy), len(healthy))
    at_end = share(sum(bool(outcome.at_end) for outcome in healthy), len(healthy))
    faulty = sum(bool(outcome.case.fault) for outcome in found)
    scripts = len({outcome.case.script for outcome in found})
    head = f"{scripts} scripts, {faulty} faults, {len(harmful)} of them harmful."
    last = f"Healthy runs disturbed: {at_end} at the end, {disturbed} at any of ten checks."
    return "\n\n".join((head, markdown(("", *groups), rows), last))


def kinds(found: Sequence[Outcome]) -> str:
    """Return the harmful faults in Markdown, a row each."""
    head = ("script", "kind", "what is wrong", "harm", "verdict", "root causes", "source")
    rows = [
        (
            outcome.case.script,
            outcome.case.name + ("" if outcome.case.fault.get("known") else " (new)"),
            outcome.case.fault["sentence"],
            f"{outcome.harm:.2f}",
            outcome.verdict,
            ", ".join(outcome.at_end[:FIRST]),
            outcome.case.fault["source"],
        )
        for outcome in found
        if outcome.counts
    ]
    return markdown(head, rows)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = sorted(file.stem for file in SCRIPTS.glob("*.toml"))
    parser.add_argument("scripts", nargs="*", metavar="NAME", help=f"of {', '.join(names)}; by default all")
    parser.add_argument("--only", default="", help="regular expression: only cases whose name matches")
    parser.add_argument("--jobs", type=int, default=1, help="processes, of one thread each")
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "clearsight-scripts")
    parser.add_argument("--write-docs", action="store_true", help=f"put the table into {DOCS.name}")
    args = parser.parse_args()
    if unknown := set(args.scripts) - set(names):
        parser.error(f"no script {', '.join(sorted(unknown))} in {SCRIPTS}; there are {', '.join(names)}")
    args.scripts = args.scripts or names
    return args


def main() -> None:
    args = arguments()
    every = [case for script in args.scripts for case in cases(script)]
    reference = [case for case in every if (case.name, case.seed) == ("healthy", 0)]
    chosen = [case for case in every if case in reference or re.search(args.only, case.name)]
    found = []
    for outcome in outcomes(chosen, args.work.resolve(), args.jobs):
        found.append(outcome)
        print(f"{len(found)}/{len(chosen)} {line(outcome)}", flush=True)
    found.sort(key=lambda outcome: [case.key for case in chosen].index(outcome.case.key))
    text = f"{machine()}.\n\n{summary(found)}\n\n{kinds(found)}"
    seconds = spread([outcome.score.seconds for outcome in found])
    print("", text, "", f"Seconds of a script, with its start: {seconds}.", sep="\n")
    if args.write_docs:
        write_docs("scripts", text)


if __name__ == "__main__":
    if len(sys.argv) > 1 and sys.argv[1] == "--execute":
        execute(Path(sys.argv[2]), json.loads(sys.argv[3]))
    else:
        main()
