"""What runs on a Ray cluster: the task that carries an assignment out, and the mailbox between it and its study.

Imports ray; whoever imports this module has made sure that it is installed.
"""

from __future__ import annotations

import asyncio
import functools
import importlib
import json
import os
import time
from collections.abc import Mapping
from typing import Any

import ray

from clearsight.core.executor import Assignment
from clearsight.tuning.executors import protocol as messages

_INTERRUPTED = "the study was interrupted"
_LOOK = 0.2  # seconds between questions whether the study was interrupted: each goes over the network


class Mailbox:
    """Letters to a study, and its answers. An actor with an event loop: everything in here runs on one thread.

    Letters and answers bear the key of their assignment: a worker that is lost may still be waiting in here when its
    trial is tried again, and must not take the answer of the other.
    """

    def __init__(self) -> None:
        self._letters: list[tuple[int, dict[str, Any]]] = []
        self._answers: dict[tuple[int, int, int], str] = {}
        self._interrupted: set[int] = set()
        self._changed = asyncio.Condition()

    async def tell(self, key: int, letter: dict[str, Any]) -> None:
        """Keep a letter for the study."""
        async with self._changed:
            self._letters.append((key, letter))
            self._changed.notify_all()

    async def ask(self, key: int, letter: dict[str, Any]) -> str:
        """Keep the letter of an epoch for the study, and wait for what it says; "" where it was interrupted."""
        await self.tell(key, letter)
        question = key, letter["trial"], letter["epoch"]
        async with self._changed:
            await self._changed.wait_for(lambda: question in self._answers or key in self._interrupted)
            return self._answers.pop(question, "")

    async def answer(self, key: int, number: int, epoch: int, stop: str) -> None:
        """What the study says to an epoch."""
        async with self._changed:
            self._answers[key, number, epoch] = stop
            self._changed.notify_all()

    async def interrupt(self, keys: list[int]) -> None:
        """These assignments are to be left as they are."""
        async with self._changed:
            self._interrupted.update(keys)
            self._changed.notify_all()

    async def interrupted(self, key: int) -> bool:
        """Whether this assignment is to be left as it is."""
        return key in self._interrupted

    async def bell(self) -> None:
        """Return once there are letters; they stay. So nothing is lost where nobody fetches what this call returns."""
        async with self._changed:
            await self._changed.wait_for(lambda: bool(self._letters))

    async def take(self) -> list[tuple[int, dict[str, Any]]]:
        """All letters that are there, each with the key of its assignment."""
        letters, self._letters = self._letters, []
        return letters


class MailboxReporter:
    """A task's end of the line to its study; a clearsight.workflow.study.reporter.TrialReporter.

    Without the mailbox there is no study to work for: the process ends, in the middle of whatever, as a worker of this
    machine does when its standard input ends. Anything raised instead would be taken for a failure of the trial.
    """

    def __init__(self, mailbox: Any, assignment: Assignment) -> None:
        self._mailbox, self._key, self._answered = mailbox, assignment.key, assignment.told
        self._next_look, self._interrupted = 0.0, False

    def tell(self, letter: dict[str, Any]) -> None:
        """Tell the study something; returns when it is in the mailbox, so that nothing overtakes it."""
        _reached(self._mailbox.tell.remote(self._key, letter))

    def epoch(self, number: int, epoch: int, scores: Mapping[str, float]) -> str:
        letter = messages.epoch_done(number, epoch, dict(scores))
        if not self._answered:
            self.tell(letter)
            return ""
        return str(_reached(self._mailbox.ask.remote(self._key, letter)))

    def interrupted(self) -> str:
        now = time.monotonic()
        if not self._interrupted and now >= self._next_look:
            self._interrupted = bool(_reached(self._mailbox.interrupted.remote(self._key)))
            self._next_look = now + _LOOK
        return _INTERRUPTED if self._interrupted else ""


def carry_out(bench: str, post: str, told: dict[str, Any], mailbox: Any) -> dict[str, Any]:
    """Carry an assignment out on a bench ("module:attribute") with a post (JSON); returns the message that it is done.

    The bench stays for the next assignment that Ray gives to this process: it keeps the network and the features.
    Processes with a GPU are Ray's exception, they end with their task so that the GPU is free for certain.
    """
    assignment = Assignment.from_json(told)
    line = MailboxReporter(mailbox, assignment)
    line.tell(messages.begun(assignment))
    return messages.done(assignment, _bench(bench, post).carry_out(assignment, line))


@functools.cache
def _bench(target: str, post: str) -> Any:
    module, _, attribute = target.partition(":")
    make: Any = importlib.import_module(module)
    for name in attribute.split("."):
        make = getattr(make, name)
    return make(json.loads(post))


def _reached(call: Any) -> Any:
    """What the mailbox returns. Not by ray.get: a task that waits in there lends its cores to the next one meanwhile,
    and the two of them would share the cores from then on."""
    try:
        return call.future().result()
    except ray.exceptions.RayError:
        os._exit(1)
