"""Seconds that a newcomer waits: to the first line, to the plan, to the first epoch, and to the answer.

    python benchmarks/first_hour.py [--repeats 3]

Times count from the start of a process until it has printed a line that begins with the named word. A cold cache is an
empty $CLEARSIGHT_CACHE; a warm one has the scan and the features of the same data. The files themselves are in the page
cache of the system either way. The last rows have no weights on disk and no network: a silent server takes the place of
a hub that does not answer.
"""

from __future__ import annotations

import argparse
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path

from measured import machine, shared, spread

DATA = shared() / "data" / "intel-scenes"
WEIGHTS = shared() / "weights" / "mobilenetv2_100_imagenet.safetensors"
FROZEN = ("-m", "timm/mobilenetv2_100", "--freeze", "backbone")
END = "the answer"


def line_times(words: Sequence[object], marks: Mapping[str, str], environ: Mapping[str, str]) -> dict[str, float]:
    """Return the seconds until the first line of `clearsight WORDS`, until each of `marks`, and until its end.

    marks: what is waited for -> beginning of its line, on stdout or stderr.
    """
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "clearsight", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**environ},
    )
    times: dict[str, float] = {}
    assert process.stdout is not None
    for line in process.stdout:
        now = time.perf_counter() - started
        times.setdefault("the first line", now)
        for name, beginning in marks.items():
            if line.startswith(beginning):
                times.setdefault(name, now)
    process.wait()
    return {**times, END: time.perf_counter() - started}


def serve_times(run: Path, image: Path, environ: Mapping[str, str]) -> dict[str, float]:
    """Return the seconds until `clearsight serve` says that it serves, and until it has classified an image."""
    started = time.perf_counter()
    words = [sys.executable, "-m", "clearsight", "serve", str(run), "--port", "0"]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env={**environ})
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        times = {"the first line": time.perf_counter() - started}
        url = line.split(" on ")[1].split()[0]
        headers = {"Content-Type": "image/jpeg"}
        request = urllib.request.Request(f"{url}/invocations", image.read_bytes(), headers)
        with urllib.request.urlopen(request) as response:
            response.read()
        return {**times, END: time.perf_counter() - started}
    finally:
        process.terminate()
        process.wait()


def show(name: str, measured: Sequence[Mapping[str, float]]) -> None:
    """Print a row: the seconds of each mark over the repeats, in the order in which they were reached."""
    marks = sorted(measured[0], key=lambda mark: statistics.median(times[mark] for times in measured))
    columns = [f"{mark} {spread([times[mark] for times in measured])} s" for mark in marks]
    print(f"{name}: {', '.join(columns)}", flush=True)


def repeat(folder: Path, number: int, environ: Mapping[str, str]) -> dict[str, dict[str, float]]:
    """Return the times of every command once: with a cold cache, with a warm one, and without a network."""
    image = next((DATA / "seg_test").rglob("*.jpg"))
    marks = {"the plan": "work ", "the first epoch": "epoch "}
    cached = {**environ, "CLEARSIGHT_CACHE": str(folder / f"cache-{number}")}
    rows = {}
    for state in ("cold", "warm"):
        rows[f"data, {state} cache"] = line_times(["data", DATA], {}, cached)
    cached["CLEARSIGHT_CACHE"] = str(folder / f"train-cache-{number}")
    for state in ("cold", "warm"):
        run = folder / f"run-{number}-{state}"
        words = ["train", DATA, *FROZEN, "--weights", WEIGHTS, "--out", run]
        rows[f"train --freeze backbone, {state} cache"] = line_times(words, marks, cached)
    rows["predict, one image"] = line_times(["predict", run, image], {}, cached)
    rows["serve, one image"] = serve_times(run, image, cached)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        offline = {**cached, "HF_ENDPOINT": f"http://127.0.0.1:{silent.getsockname()[1]}", "HF_HUB_OFFLINE": "0"}
        offline |= {"XDG_CACHE_HOME": str(folder), "HF_HOME": str(folder / "hub")}
        words = ["train", DATA, *FROZEN, "--out", folder / "never"]
        rows["train without weights, the hub does not answer"] = line_times(words, {}, offline)
    words = ["train", DATA, *FROZEN, "--weights", folder / "missing.safetensors", "--out", folder / "never"]
    rows["train, the weights file is missing"] = line_times(words, {}, cached)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    print(machine(), flush=True)
    environ = {name: value for name, value in os.environ.items() if name != "CLEARSIGHT_WEIGHTS"}
    with tempfile.TemporaryDirectory() as folder:
        results = []
        for number in range(args.repeats):
            results.append(repeat(Path(folder), number, environ))
            print(f"repeat {number + 1} of {args.repeats}: {results[-1]}", file=sys.stderr, flush=True)
    for name in results[0]:
        show(name, [rows[name] for rows in results])


if __name__ == "__main__":
    main()
