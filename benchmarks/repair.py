"""`--repair` on recipes with one bad setting: how much of the lost accuracy comes back.

    python benchmarks/repair.py [--only intel-scenes,lr_5] [--seeds 1] [--json results.jsonl]

Each case is one command, `clearsight train DATA -m tiny --epochs 10 SETTING --repair`, on the data of
benchmarks/default_data.py. The damage is the test accuracy of the same command without the setting, less that of the
first attempt; regained is what the attempt that is kept adds to the first one. Cases with a damage below 0.05 are not
counted: there is nothing to regain. A case is repaired if nine tenths of the damage are regained. The setting of the
batch size is one that the data allow: half of the training images.

Results are appended to the JSON-lines file as they come, and what is there already is not run again.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from default_data import build
from measured import machine, timed

from clearsight.core.statistics import wilson

DATASETS = ("intel-scenes", "cifar-10", "isic-2024")
BASE = ("-m", "tiny", "--epochs", "10")
_SGD = ("--optimizer", "sgd")
# One bad setting each, beside the optimizer that it needs; the healthy command has the same optimizer.
FAULTS: Mapping[str, tuple[str, ...]] = {
    "lr_5": ("--lr", "5"),
    "lr_1e-6": ("--lr", "1e-6"),
    "sgd_lr_1e-5": (*_SGD, "--lr", "1e-5"),
    "weight_decay_1": (*_SGD, "--weight-decay", "1"),
    "momentum_0.999": (*_SGD, "--momentum", "0.999"),
    "clip_1e-5": (*_SGD, "--clip-grad", "1e-5"),
    "eps_1": ("--eps", "1"),
    "ema_0.9999": ("--ema", "0.9999"),
    "batch_half": ("--batch-size", "256"),
    "dropout_0.95": ("--dropout", "0.95"),
    "label_smoothing_0.95": ("--label-smoothing", "0.95"),
    "gamma_0.05": ("--schedule", "step", "--step-size", "1", "--gamma", "0.05"),
    "warm_up_0.99": ("--warmup", "0.99"),
    "std_0.01": ("--mean", "0.5,0.5,0.5", "--std", "0.01,0.01,0.01"),
    "mean_30": ("--mean", "0.99,0.99,0.99", "--std", "0.99,0.99,0.99"),
    "mixup_10": ("--mixup", "10"),
}
_LEAST, _REGAINED = 0.05, 0.9


def train(data: Path, seed: int, *settings: str) -> dict[str, Any]:
    """Return accuracy on the test images at the first attempt and of the run that is kept, and the seconds."""
    with tempfile.TemporaryDirectory() as fresh:
        words = [sys.executable, "-m", "clearsight", "train", data, *BASE, *settings, "--seed", seed]
        done = timed([*words, "--out", f"{fresh}/run", "--json"], {**os.environ, "CLEARSIGHT_CACHE": f"{fresh}/cache"})
        kept, file = json.loads(done.output), Path(fresh) / "run" / "repairs.json"
        attempts = json.loads(file.read_text()) if file.is_file() else []
    final = float(kept["test"]["accuracy"])
    first = attempts[0] if attempts else {}
    return {
        "first": float(first["test"]["accuracy"]) if first.get("test") else (0.0 if attempts else final),
        "kept": final,
        "attempts": max(1, len(attempts)),
        "rules": [attempt["rule"] for attempt in attempts[:-1]],
        "seconds": round(done.seconds, 1),
    }


def healthy_settings(fault: str) -> tuple[str, ...]:
    """Return the settings of the healthy command."""
    return _SGD if "sgd" in FAULTS[fault] else ()


def table(rows: Iterable[dict[str, Any]]) -> Iterator[str]:
    """Yield a line per case with damage, and the totals."""
    counted = []
    for row in rows:
        damage = row["healthy"] - row["first"]
        if damage < _LEAST:
            continue
        regained = (row["kept"] - row["first"]) / damage
        counted.append(regained)
        yield (
            f"{row['data']:<13} {row['fault']:<21} healthy {row['healthy']:.3f}  first {row['first']:.3f}  kept "
            f"{row['kept']:.3f}  regained {regained:5.2f}  attempts {row['attempts']}  {', '.join(row['rules']) or '-'}"
        )
    repaired = sum(share >= _REGAINED for share in counted)
    if counted:
        low, high = wilson(repaired, len(counted))
        yield f"repaired: {repaired} of {len(counted)} ({repaired / len(counted):.0%}, {low:.0%} to {high:.0%})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="datasets and faults")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--json", type=Path, default=Path(tempfile.gettempdir()) / "clearsight-repair.jsonl")
    parser.add_argument("--data", type=Path, default=Path(tempfile.gettempdir()) / "clearsight-repair-data")
    args = parser.parse_args()
    words = [word for word in args.only.split(",") if word]
    rows = [json.loads(line) for line in args.json.read_text().splitlines()] if args.json.exists() else []
    have = {(row["data"], row["fault"], row["seed"]) for row in rows}
    print(machine(), flush=True)
    for seed in range(args.seeds):
        for name in [n for n in DATASETS if n in words] or DATASETS:
            data, healthy = build(name, 0, seed, args.data), dict[tuple[str, ...], float]()
            for fault in [f for f in FAULTS if f in words] or FAULTS:
                if (name, fault, seed) in have:
                    continue
                base = healthy_settings(fault)
                if base not in healthy:
                    healthy[base] = train(data, seed, *base)["kept"]
                result = train(data, seed, *FAULTS[fault], "--repair")
                row = {"data": name, "fault": fault, "seed": seed, "healthy": healthy[base], **result}
                rows.append(row)
                with args.json.open("a") as results:
                    results.write(json.dumps(row) + "\n")
                print(json.dumps(row), flush=True)
    print(*table(rows), sep="\n")


if __name__ == "__main__":
    main()
