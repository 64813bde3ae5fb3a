"""A deployed endpoint under load: clients that leave, bad images, workers that are killed, an update, and its end.

A minute of it here; CLEARSIGHT_SOAK_SECONDS=600 for ten.
"""

from __future__ import annotations

import collections
import os
import random
import signal
import socket
import threading
import time
from pathlib import Path

import httpx
import numpy as np
import pytest

from clearsight.workflow.deployment.deploy import undeploy, update
from clearsight.workflow.deployment.endpoint_status import endpoints
from clearsight.workflow.predict import predict
from tests.workflow.test_deploy import first, home, photo, pids, second, started, until, workers

__all__ = ["home", "photo"]  # fixtures

SECONDS = float(os.environ.get("CLEARSIGHT_SOAK_SECONDS", "60"))
CLIENTS, ABORTING, BAD, KILL_SECONDS = 32, 0.2, 0.05, 20.0


class Load:
    """Clients without a pause. outcomes: how often each kind of request ended in each way."""

    def __init__(self, url: str, photo: bytes, allowed: tuple[float, ...]) -> None:
        self.outcomes: collections.Counter[tuple[str, str]] = collections.Counter()
        self.wrong: list[float] = []
        self._url, self._photo, self._allowed = url, photo, allowed
        self._stop, self._lock = threading.Event(), threading.Lock()
        self._threads = [threading.Thread(target=self._run, args=(seed,)) for seed in range(CLIENTS)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(60)

    def count(self, kind: str, outcome: str) -> None:
        with self._lock:
            self.outcomes[kind, outcome] += 1

    def _run(self, seed: int) -> None:
        chance = random.Random(seed)
        with httpx.Client(base_url=self._url, trust_env=False, timeout=30) as client:
            while not self._stop.is_set():
                draw = chance.random()
                if draw < ABORTING:
                    self._abort(chance)
                elif draw < ABORTING + BAD:
                    self._ask(client, "bad", self._photo[: chance.randrange(1, 200)])
                else:
                    self._ask(client, "good", self._photo)

    def _abort(self, chance: random.Random) -> None:
        """Send a part of a request, or all of it, and leave."""
        head = f"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Length: {len(self._photo)}\r\n\r\n".encode()
        request = head + self._photo
        host, port = self._url.removeprefix("http://").split(":")
        try:
            with socket.create_connection((host, int(port)), timeout=10) as connection:
                connection.sendall(request[: chance.randrange(1, len(request) + 1)])
        except OSError as error:
            self.count("abort", type(error).__name__)
            return
        self.count("abort", "left")

    def _ask(self, client: httpx.Client, kind: str, body: bytes) -> None:
        try:
            response = client.post("/invocations", content=body)
        except httpx.HTTPError as error:
            self.count(kind, type(error).__name__)
            return
        self.count(kind, str(response.status_code))
        if response.status_code == 200:
            red = response.json()["probabilities"]["red"]
            if kind == "bad" or min(abs(red - value) for value in self._allowed) > 1e-4:
                self.wrong.append(red)


@pytest.mark.slow
@pytest.mark.timeout(SECONDS + 120)
def test_every_request_gets_its_own_answer_or_a_refusal(home: Path, tmp_path: Path, photo: Path) -> None:
    one, two = first(tmp_path / "one"), second(tmp_path / "two")
    allowed = tuple(float(predict(bundle, [photo]).probabilities[0, 0]) for bundle in (one, two))
    status = started(home, one, workers=(2, 2))
    load = Load(status.url, photo.read_bytes(), allowed)
    load.start()
    begun, kills, memory, updated = time.monotonic(), 0, [], False
    while (elapsed := time.monotonic() - begun) < SECONDS:
        if elapsed > KILL_SECONDS * (kills + 1):
            os.kill(pids(home)[0], signal.SIGKILL)
            kills += 1
        if elapsed > SECONDS / 2 and not updated:
            until(lambda: len(pids(home)) == 2)
            update("dogs", two, home=home)
            updated = True
        memory.append(endpoints(home=home)[0].memory)
        time.sleep(0.5)
    found = endpoints(home=home)[0]
    load.stop()
    outcomes = load.outcomes
    print(f"{SECONDS:g} s: {dict(outcomes)}; {kills} workers killed; memory {np.percentile(memory, [5, 50, 95])}")
    assert load.wrong == []
    assert {outcome for kind, outcome in outcomes if kind == "bad"} <= {"400", "503"}
    assert outcomes["good", "200"] > 20 * SECONDS
    # Those of a killed worker get 503.
    assert {outcome for kind, outcome in outcomes if kind == "good"} <= {"200", "503"}
    assert (found.replaced, found.version) == (kills, 2)
    half = len(memory) // 2
    assert np.median(memory[half:]) < 1.3 * np.median(memory[half // 2 : half])


@pytest.mark.slow
def test_requests_in_progress_are_answered_when_an_endpoint_ends(home: Path, tmp_path: Path, photo: Path) -> None:
    bundle = first(tmp_path / "one")
    status = started(home, bundle, workers=(2, 2))
    allowed = (float(predict(bundle, [photo]).probabilities[0, 0]),)
    load = Load(status.url, photo.read_bytes(), allowed)
    load.start()
    until(lambda: load.outcomes["good", "200"] > 200)
    assert len(workers(home)) == 2
    undeploy("dogs", home=home)
    load.stop()
    ends = {outcome: count for (kind, outcome), count in load.outcomes.items() if kind == "good"}
    refused = ends.pop("ConnectError")  # nobody is there any more
    answered = ends.pop("200")
    assert refused > 0
    assert answered > 200
    # Each client may have sent one more request on a connection that was closed at that moment.
    assert sum(ends.values()) <= CLIENTS
    assert load.wrong == []
