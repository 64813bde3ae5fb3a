"""RayExecutor: trials as tasks on a Ray cluster."""

from __future__ import annotations

import contextlib
import json
import time
from dataclasses import dataclass
from typing import Any

from clearsight.core.errors import StudyUnavailable, missing_extra
from clearsight.core.executor import (
    Assignment,
    AssignmentDone,
    AssignmentStarted,
    ExecutorEvent,
    ExecutorSpec,
    WorkerLost,
)
from clearsight.tuning.executors import protocol

try:
    import ray
    from ray import exceptions
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy
except ImportError:  # this module is imported only for --on ray
    raise missing_extra("ray", "ray", "--on ray") from None

from clearsight.tuning.executors import ray_cluster, ray_tasks

_TAIL = 12  # lines of the traceback of a failed task that the study shows
_PATIENCE = 5.0  # seconds that cancelled tasks have to end


@dataclass(eq=False, slots=True)
class _RunningTask:
    """An assignment and its Ray task. started: the task has reported its start."""

    assignment: Assignment
    task: Any
    started: bool = False


class RayExecutor:
    """Executor on a Ray cluster: a new one of this machine, or the one at the spec's address.

    Each assignment is one task; Ray decides when it runs, and on which node.

    Every node needs clearsight, and the study folder, the data and the feature cache under the same paths (a shared
    file system): a trial whose node died continues from the checkpoint in its folder on another node. Ray retries
    nothing, because the study counts the attempts. Tasks wait while the cluster has no room for them. A trial that asks
    for no GPU sees none.

    Tasks send messages through a mailbox, an actor on the node that this process is connected to: it dies only with the
    connection.
    """

    def __init__(self, spec: ExecutorSpec) -> None:
        self.slots, self._spec = spec.slots, spec
        self._busy: dict[int, _RunningTask] = {}
        self._mailbox: Any = None
        self._mail_signal: Any = None  # resolves when the mailbox holds messages
        cpus, gpus = spec.cpus or 1, spec.gpus or 0
        self._cluster = ray_cluster.connect(spec.address)
        try:
            if not spec.address:
                ray_cluster.check_room(cpus, gpus)
            options: dict[str, Any] = {"num_cpus": cpus, "num_gpus": gpus, "max_retries": 0}
            if not gpus:  # Ray hides the GPUs of others only from tasks that have one
                options["runtime_env"] = {"env_vars": {"CUDA_VISIBLE_DEVICES": ""}}
            self._run_assignment = ray.remote(ray_tasks.run_assignment).options(**options)
            self._open_mailbox()
        except BaseException:  # also KeyboardInterrupt: the cluster must not outlive the study
            self.close()
            raise

    def start(self, assignment: Assignment) -> None:
        slot = next(slot for slot in range(self.slots) if slot not in self._busy)
        resources = json.dumps(dict(self._spec.resources(slot)), sort_keys=True)
        try:
            _check_connected()
            if self._mailbox is None:
                self._open_mailbox()
            task = self._run_assignment.remote(self._spec.runner, resources, assignment.to_json(), self._mailbox)
        except (exceptions.RayError, ConnectionError) as error:  # no later assignment could run either
            flag = f"--on {self._spec.address or 'ray'}"
            fix = "Continue the study later with --resume."
            raise StudyUnavailable(flag, "the connection to the Ray cluster is lost", fix=fix) from error
        self._busy[slot] = _RunningTask(assignment, task)

    def reply(self, number: int, epoch: int, stop: str) -> None:
        for running in self._busy.values() if ray.is_initialized() else ():
            if any(task.number == number for task in running.assignment.tasks):
                self._mailbox.reply.remote(running.assignment.key, number, epoch, stop)

    def interrupt(self) -> None:
        if not ray.is_initialized():
            return
        if self._mailbox is not None:
            self._mailbox.interrupt.remote([running.assignment.key for running in self._busy.values()])
        for running in self._busy.values():
            if not running.started:  # it may wait for room for any length of time
                ray.cancel(running.task)

    def events(self, seconds: float) -> list[ExecutorEvent]:
        if self._mailbox is None:
            time.sleep(seconds)
            return []
        try:
            _check_connected()
            tasks = [running.task for running in self._busy.values()]
            ready, _ = ray.wait([self._mail_signal, *tasks], num_returns=1, timeout=seconds)
            if not ready:
                return []
            events = self._drain_mailbox()  # after the wait: a task that has ended has sent all of its messages
        except (exceptions.RayError, ConnectionError) as error:
            return self._lose_all(error)
        return events + [self._end(slot) for slot, running in list(self._busy.items()) if running.task in ready]

    def close(self) -> None:
        with contextlib.suppress(exceptions.RayError, ConnectionError):
            _check_connected()
            tasks = [running.task for running in self._busy.values()]
            for task in tasks:
                ray.cancel(task, force=True)
            if tasks:
                ray.wait(tasks, num_returns=len(tasks), timeout=_PATIENCE)
            if self._mailbox is not None:
                ray.kill(self._mailbox)
        self._busy.clear()
        self._mailbox = self._mail_signal = None
        self._cluster.close()

    def _open_mailbox(self) -> None:
        same_node = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        actor = ray.remote(ray_tasks.Mailbox).options(num_cpus=0, scheduling_strategy=same_node)
        self._mailbox = actor.remote()
        self._mail_signal = self._mailbox.wait_for_messages.remote()

    def _drain_mailbox(self) -> list[ExecutorEvent]:
        """Return the messages of the running tasks as events; messages of lost tasks are dropped."""
        slots = {running.assignment.key: slot for slot, running in self._busy.items()}
        messages = ray.get(self._mailbox.drain.remote())
        if ray.wait([self._mail_signal], timeout=0)[0]:
            self._mail_signal = self._mailbox.wait_for_messages.remote()
        events = [protocol.event_from(slots[key], message) for key, message in messages if key in slots]
        for event in events:
            if isinstance(event, AssignmentStarted):
                self._busy[event.worker].started = True
        return events

    def _end(self, slot: int) -> ExecutorEvent:
        """Return how the task of a slot ended, and free the slot."""
        running = self._busy.pop(slot)
        key = running.assignment.key
        try:
            return protocol.event_from(slot, ray.get(running.task))
        except exceptions.TaskCancelledError:  # only `interrupt` cancels a task that is still in `_busy`
            return AssignmentDone(worker=slot, key=key, results=())
        except (exceptions.RayError, ConnectionError) as error:
            return WorkerLost(worker=slot, key=key, reason=loss_reason(error), log=_traceback_tail(error))

    def _lose_all(self, error: Exception) -> list[ExecutorEvent]:
        """Return the loss of every running task, because the mailbox, and perhaps the cluster, is gone.

        A task that still runs ends by itself when it cannot reach the mailbox.
        """
        lost: list[ExecutorEvent] = []
        for slot, running in self._busy.items():
            with contextlib.suppress(exceptions.RayError, ConnectionError):
                _check_connected()
                ray.cancel(running.task, force=True)
            lost.append(WorkerLost(worker=slot, key=running.assignment.key, reason=loss_reason(error)))
        self._busy.clear()
        self._mailbox = self._mail_signal = None
        return lost


def _check_connected() -> None:
    """Raise ConnectionError if the connection is gone: any call to Ray would then start a new cluster."""
    if not ray.is_initialized():
        raise ConnectionError("the connection to the cluster broke")


def loss_reason(error: Exception) -> str:
    """Return why an assignment was lost, as a clause."""
    match error:
        case exceptions.NodeDiedError():
            return "its node died"
        case exceptions.OutOfMemoryError():
            return "its node ran out of memory"
        case exceptions.WorkerCrashedError():
            return "its worker process died"
        case exceptions.RuntimeEnvSetupError():
            return "its node could not start a worker process"
        case exceptions.ActorDiedError() | exceptions.ActorUnavailableError():
            return "the mailbox of the study died"
        case exceptions.RayTaskError():
            return f"its task raised {type(error.cause).__name__}"
        case ConnectionError():
            return "the connection to the cluster broke"
    return f"Ray lost it ({type(error).__name__})"


def _traceback_tail(error: Exception) -> str:
    """Return the last lines of the traceback of a task that raised; "" for a process that died."""
    if not isinstance(error, exceptions.RayTaskError):
        return ""
    return "\n".join(str(error).strip().splitlines()[-_TAIL:])
