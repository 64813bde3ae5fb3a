"""Code that runs on a Ray cluster: the task that runs an assignment, and the mailbox between tasks and their study.

Imports ray; the importer has made sure that it is installed.
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
from clearsight.tuning.executors import protocol
from clearsight.tuning.executors.protocol import Message

_INTERRUPTED = "the study was interrupted"
_POLL = 0.2  # seconds between questions whether the study was interrupted: each one goes over the network


class Mailbox:
    """Messages to a study, and its replies. An actor with an event loop: all of its methods run on one thread.

    Messages and replies carry the key of their assignment: a lost worker may still wait here when its trial is tried
    again, and must not take the reply to the new worker.
    """

    def __init__(self) -> None:
        self._messages: list[tuple[int, Message]] = []
        self._replies: dict[tuple[int, int, int], str] = {}
        self._interrupted: set[int] = set()  # keys are never reused, so nothing needs to be removed
        self._changed = asyncio.Condition()

    async def put(self, key: int, message: Message) -> None:
        """Store a message for the study."""
        async with self._changed:
            self._messages.append((key, message))
            self._changed.notify_all()

    async def put_and_wait(self, key: int, message: Message) -> str:
        """Store the message of an epoch and return the study's reply; "" if the assignment was interrupted."""
        await self.put(key, message)
        epoch = key, message["trial"], message["epoch"]
        async with self._changed:
            await self._changed.wait_for(lambda: epoch in self._replies or key in self._interrupted)
            return self._replies.pop(epoch, "")

    async def reply(self, key: int, number: int, epoch: int, stop: str) -> None:
        """Store the study's reply to an epoch."""
        async with self._changed:
            self._replies[key, number, epoch] = stop
            self._changed.notify_all()

    async def interrupt(self, keys: list[int]) -> None:
        """Interrupt these assignments."""
        async with self._changed:
            self._interrupted.update(keys)
            self._changed.notify_all()

    async def interrupted(self, key: int) -> bool:
        """Return True if this assignment was interrupted."""
        return key in self._interrupted

    async def wait_for_messages(self) -> None:
        """Return once there are messages. They stay: nothing is lost if nobody fetches the result of this call."""
        async with self._changed:
            await self._changed.wait_for(lambda: bool(self._messages))

    async def drain(self) -> list[tuple[int, Message]]:
        """Remove and return all messages, each with the key of its assignment."""
        messages, self._messages = self._messages, []
        return messages


class MailboxReporter:
    """TrialReporter (clearsight.workflow.study.reporter) of a Ray task.

    Without the mailbox no study is left to work for. The process then exits at once, as a worker process does when its
    standard input ends: an exception would be taken for a failure of the trial.
    """

    def __init__(self, mailbox: Any, assignment: Assignment) -> None:
        self._mailbox, self._key, self._prunable = mailbox, assignment.key, assignment.prunable
        self._next_poll, self._interrupted = 0.0, False

    def send(self, message: Message) -> None:
        """Send a message; returns when the mailbox has it, so that messages keep their order."""
        _result_of(self._mailbox.put.remote(self._key, message))

    def report_epoch(self, number: int, epoch: int, scores: Mapping[str, float]) -> str:
        message = protocol.epoch_done(number, epoch, scores)
        if not self._prunable:
            self.send(message)
            return ""
        return str(_result_of(self._mailbox.put_and_wait.remote(self._key, message)))

    def interruption(self) -> str:
        now = time.monotonic()  # asked between any two training steps, which may take a millisecond each
        if not self._interrupted and now >= self._next_poll:
            self._interrupted = bool(_result_of(self._mailbox.interrupted.remote(self._key)))
            self._next_poll = now + _POLL
        return _INTERRUPTED if self._interrupted else ""


def run_assignment(runner: str, resources: str, assignment: dict[str, Any], mailbox: Any) -> Message:
    """Run an assignment with a runner ("module:attribute") and resources (JSON); returns the message that it is done.

    The runner stays for the next assignment that Ray gives to this process: it keeps the network and the features.
    Processes with a GPU are the exception: Ray ends them with their task, to be sure that the GPU is free.
    """
    job = Assignment.from_json(assignment)
    reporter = MailboxReporter(mailbox, job)
    reporter.send(protocol.started(job))
    return protocol.done(job, _runner(runner, resources).run(job, reporter))


@functools.cache  # one for each process and share, so that its features serve the next assignment
def _runner(target: str, resources: str) -> Any:
    module, _, attribute = target.partition(":")
    build: Any = importlib.import_module(module)
    for name in attribute.split("."):
        build = getattr(build, name)
    return build(json.loads(resources))


def _result_of(call: Any) -> Any:
    """Return the result of a call to the mailbox; exit if the mailbox is gone.

    Not by ray.get: Ray lends the cores of a task that waits in ray.get to the next task, and both would share them from
    then on.
    """
    try:
        return call.future().result()
    except ray.exceptions.RayError:
        os._exit(1)
