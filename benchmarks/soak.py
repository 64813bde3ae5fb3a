"""serve under hostile load: how long do honest requests take, and does memory stay flat?

One honest client sends a 640 x 480 JPEG 20 times a second, first alone and then beside clients that keep idle
connections open, send heads and bodies byte by byte, declare and send bodies over the limit, send images of 49 million
pixels in 150 kB, lists of them as JSON, and leave in the middle of a request.

    python benchmarks/soak.py [--seconds 60] [--json]
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import io
import json
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import numpy as np
import psutil
from PIL import Image

from clearsight.testing.mean_colour import make_bundle

IDLE, PAUSE = 600, 0.05  # connections that send nothing; seconds between honest requests


def encoded(image: Image.Image, format: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, format, **options)
    return out.getvalue()


class Attacker:
    """Clients that run until `stop` is set."""

    def __init__(self, url: str, stop: threading.Event) -> None:
        address = urlsplit(url)
        self.address, self.url, self.stop = (address.hostname or "", address.port or 0), url, stop
        self.bomb = encoded(Image.new("I;16", (7000, 7000), 5), "TIFF", compression="tiff_adobe_deflate")
        self.statuses: Counter[int] = Counter()

    def idle(self) -> None:
        with contextlib.ExitStack() as stack:
            while not self.stop.is_set():
                with contextlib.suppress(OSError):
                    for _ in range(IDLE // 10):
                        stack.enter_context(socket.create_connection(self.address, timeout=5))
                if self.stop.wait(1):
                    return

    def slow(self) -> None:
        head = b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n"
        with contextlib.ExitStack() as stack:
            open_ones = [stack.enter_context(socket.create_connection(self.address, timeout=5)) for _ in range(40)]
            sent = 0
            while not self.stop.wait(0.2):
                for number, connection in enumerate(open_ones):
                    text = head * (number % 2) + b"POST /in"  # half of them finish their head
                    with contextlib.suppress(OSError):
                        connection.sendall(text[sent : sent + 1] or b"x")
                sent += 1

    def post(self, body: bytes, content_type: str) -> None:
        while not self.stop.is_set():
            with contextlib.suppress(httpx.HTTPError):
                headers = {"Content-Type": content_type}
                response = httpx.post(f"{self.url}/invocations", content=body, headers=headers, timeout=60)
                self.statuses[response.status_code] += 1
            self.stop.wait(PAUSE)

    def leave(self) -> None:
        head = f"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Length: {len(self.bomb)}\r\n\r\n".encode()
        while not self.stop.wait(PAUSE):
            with contextlib.suppress(OSError), socket.create_connection(self.address, timeout=5) as connection:
                connection.sendall(head + self.bomb)

    def jobs(self) -> list[Callable[[], None]]:
        text = base64.b64encode(self.bomb).decode()
        some, many = (json.dumps({"images": [text] * count}).encode() for count in (2, 40))
        return [
            self.idle,
            self.slow,
            self.leave,
            lambda: self.post(b"x" * (21 << 20), "image/jpeg"),
            lambda: self.post(self.bomb, "image/tiff"),
            lambda: self.post(some, "application/json"),
            lambda: self.post(many, "application/json"),
        ]


def honest(url: str, seconds: float, image: bytes) -> tuple[list[float], int]:
    """Return the seconds of each answered request, and the number of those that were not answered with 200."""
    took, failed, end = [], 0, time.monotonic() + seconds
    while time.monotonic() < end:
        start = time.perf_counter()
        try:
            # A new connection each time: the hardest case, since one that is open already is not refused.
            failed += httpx.post(f"{url}/invocations", content=image, timeout=30).status_code != 200
        except httpx.HTTPError:
            failed += 1
        took.append(time.perf_counter() - start)
        time.sleep(PAUSE)
    return took, failed


def measure(seconds: float) -> dict[str, object]:
    noise = np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)
    image = encoded(Image.fromarray(noise).resize((640, 480)), "JPEG")
    with tempfile.TemporaryDirectory() as folder:
        bundle = make_bundle(Path(folder) / "bundle").path
        command = [sys.executable, "-m", "clearsight", "serve", str(bundle), "--port", "0"]
        log = Path(folder) / "log"
        with (
            log.open("w") as stream,
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stream, text=True) as process,
        ):
            try:
                assert process.stdout is not None
                url = next(word for word in process.stdout.readline().split() if word.startswith("http"))
                result = phases(url, seconds, image, psutil.Process(process.pid))
            finally:
                process.terminate()
                process.wait(30)
        return {**result, "log_bytes": log.stat().st_size, "exit_code": process.returncode}


def phases(url: str, seconds: float, image: bytes, server: psutil.Process) -> dict[str, object]:
    honest(url, 1, image)  # the first requests load what is loaded on first use
    quiet, quiet_failed = honest(url, seconds, image)
    stop = threading.Event()
    attacker = Attacker(url, stop)
    threads = [threading.Thread(target=job) for job in attacker.jobs()]
    for thread in threads:
        thread.start()
    try:
        with memory_of(server) as samples:
            hostile, hostile_failed = honest(url, seconds, image)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    third = max(len(samples) // 3, 1)  # one image of 49 million pixels takes hundreds of MiB for a moment
    return {
        "seconds": seconds,
        "alone": summary(quiet, quiet_failed),
        "beside_hostile_clients": summary(hostile, hostile_failed),
        "memory_mib": {
            "median_of_first_third": int(np.median(samples[:third])),
            "median_of_last_third": int(np.median(samples[-third:])),
            "largest": max(samples),
        },
        "hostile_statuses": dict(attacker.statuses),
    }


@contextlib.contextmanager
def memory_of(process: psutil.Process) -> Iterator[list[int]]:
    """Yield a list that receives the resident memory of a process in MiB, five times a second until the end."""
    samples, ended = [process.memory_info().rss >> 20], threading.Event()

    def sample() -> None:
        while not ended.wait(0.2):
            samples.append(process.memory_info().rss >> 20)

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield samples
    finally:
        ended.set()
        thread.join()


def summary(took: list[float], failed: int) -> dict[str, float]:
    p50, p99 = (1000 * float(np.quantile(took, q)) for q in (0.5, 0.99))
    return {"requests": len(took), "failed": failed, "p50_ms": round(p50, 1), "p99_ms": round(p99, 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="of each of the two phases")
    parser.add_argument("--json", action="store_true", help="print JSON alone")
    arguments = parser.parse_args()
    result = measure(arguments.seconds)
    if arguments.json:
        print(json.dumps(result))
        return
    for name, value in result.items():
        print(f"{name:<24} {value}")


if __name__ == "__main__":
    main()
