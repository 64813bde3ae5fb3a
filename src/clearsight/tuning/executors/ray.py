"""RayExecutor: trials as tasks on a Ray cluster."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from clearsight.core.errors import StudyUnavailable, missing_extra
from clearsight.core.executor import Assignment, AssignmentDone, AssignmentStarted, ExecutorEvent, WorkerLost
from clearsight.tuning.executors.protocol import event_of
from clearsight.tuning.executors.spec import ExecutorSpec

try:
    import ray
    from ray import exceptions
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy
except ImportError:  # this module is loaded only where somebody asks for it
    raise missing_extra("ray", "ray", "--on ray") from None

from clearsight.tuning.executors import ray_cluster, ray_tasks

_TAIL = 12  # lines of a traceback that are told of a task that raised
_PATIENCE = 5.0  # seconds that tasks get to end when they are cancelled


@dataclass(eq=False, slots=True)
class _Work:
    """An assignment under way, and the task that has it. begun: whether that has been heard of."""

    assignment: Assignment
    task: Any
    begun: bool = False


class RayExecutor:
    """Keeps clearsight.core.executor.Executor. Each assignment is one task; Ray decides when and on which node.

    Every node must see the study folder, the data and the feature cache under the same paths (a shared file system),
    and have clearsight installed: a trial that lost its node goes on from the checkpoint in its folder on another.
    Nothing is tried again by Ray, so that the study counts the attempts. Where more is asked for at a time than the
    cluster has room for, tasks wait. A trial that asks for no GPU sees none.

    Tasks speak through a mailbox, an actor on the node that we are connected to: it goes only when we are lost too.
    """

    def __init__(self, crew: ExecutorSpec) -> None:
        self.slots, self._crew = crew.slots, crew
        self._busy: dict[int, _Work] = {}
        self._mailbox: Any = None
        self._bell: Any = None
        cpus, gpus = crew.cpus or 1, crew.gpus or 0
        self._cluster = ray_cluster.connect(crew.address)
        try:
            if not crew.address:
                ray_cluster.check_room(cpus, gpus)
            room: dict[str, Any] = {"num_cpus": cpus, "num_gpus": gpus, "max_retries": 0}
            if not gpus:  # Ray hides the GPUs of others only from those who have one
                room["runtime_env"] = {"env_vars": {"CUDA_VISIBLE_DEVICES": ""}}
            self._carry_out = ray.remote(ray_tasks.carry_out).options(**room)
            self._open_mailbox()
        except BaseException:
            self.close()
            raise

    def start(self, assignment: Assignment) -> None:
        slot = next(slot for slot in range(self.slots) if slot not in self._busy)
        post = json.dumps(dict(self._crew.post(slot)), sort_keys=True)
        with self._there():
            if self._mailbox is None:
                self._open_mailbox()
            task = self._carry_out.remote(self._crew.bench, post, assignment.to_json(), self._mailbox)
        self._busy[slot] = _Work(assignment, task)

    def answer(self, number: int, epoch: int, stop: str) -> None:
        for work in self._busy.values() if ray.is_initialized() else ():
            if any(task.number == number for task in work.assignment.tasks):
                self._mailbox.answer.remote(work.assignment.key, number, epoch, stop)

    def interrupt(self) -> None:
        if not ray.is_initialized():
            return
        if self._mailbox is not None:
            self._mailbox.interrupt.remote([work.assignment.key for work in self._busy.values()])
        for work in self._busy.values():
            if not work.begun:  # it may wait for room for as long as it likes
                ray.cancel(work.task)

    def events(self, seconds: float) -> list[ExecutorEvent]:
        if self._mailbox is None:
            time.sleep(seconds)
            return []
        try:
            _check_connected()
            tasks = [work.task for work in self._busy.values()]
            ready, _ = ray.wait([self._bell, *tasks], num_returns=1, timeout=seconds)
            if not ready:
                return []
            found = self._letters()  # after the look at the tasks: one that is over has said everything
        except (exceptions.RayError, ConnectionError) as error:
            return self._lose_all(error)
        return found + [self._end(slot) for slot, work in list(self._busy.items()) if work.task in ready]

    def close(self) -> None:
        with contextlib.suppress(exceptions.RayError, ConnectionError):
            _check_connected()
            self._end_all()
        self._busy.clear()
        self._mailbox = self._bell = None
        self._cluster.close()

    def _end_all(self) -> None:
        tasks = [work.task for work in self._busy.values()]
        for task in tasks:
            ray.cancel(task, force=True)
        if tasks:
            ray.wait(tasks, num_returns=len(tasks), timeout=_PATIENCE)
        if self._mailbox is not None:
            ray.kill(self._mailbox)

    def _open_mailbox(self) -> None:
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        box = ray.remote(ray_tasks.Mailbox).options(num_cpus=0, scheduling_strategy=here)
        self._mailbox = box.remote()
        self._bell = self._mailbox.bell.remote()

    def _letters(self) -> list[ExecutorEvent]:
        """What tasks have said; not what came from one that is lost."""
        slots = {work.assignment.key: slot for slot, work in self._busy.items()}
        letters = ray.get(self._mailbox.take.remote())
        if ray.wait([self._bell], timeout=0)[0]:
            self._bell = self._mailbox.bell.remote()
        found = [event_of(slots[key], letter) for key, letter in letters if key in slots]
        for event in found:
            if isinstance(event, AssignmentStarted):
                self._busy[event.worker].begun = True
        return found

    def _end(self, slot: int) -> ExecutorEvent:
        """What came of a task that is over."""
        work = self._busy.pop(slot)
        key = work.assignment.key
        try:
            return event_of(slot, ray.get(work.task))
        except exceptions.TaskCancelledError:  # nobody but `interrupt` does that
            return AssignmentDone(worker=slot, key=key, outcomes=())
        except (exceptions.RayError, ConnectionError) as error:
            return WorkerLost(worker=slot, key=key, why=why_lost(error), log=_last_words(error))

    def _lose_all(self, error: Exception) -> list[ExecutorEvent]:
        """The mailbox is gone, and perhaps the cluster: whoever could be reached by it ends by himself."""
        lost: list[ExecutorEvent] = []
        for slot, work in self._busy.items():
            with contextlib.suppress(exceptions.RayError, ConnectionError):
                _check_connected()
                ray.cancel(work.task, force=True)
            lost.append(WorkerLost(worker=slot, key=work.assignment.key, why=why_lost(error)))
        self._busy.clear()
        self._mailbox = self._bell = None
        return lost

    @contextlib.contextmanager
    def _there(self) -> Iterator[None]:
        """Words for a cluster that is gone for good: there is nothing to go on with."""
        try:
            _check_connected()
            yield
        except (exceptions.RayError, ConnectionError) as error:
            where = f"--on {self._crew.address or 'ray'}"
            raise StudyUnavailable(where, "the Ray cluster is gone", fix="Go on later with --resume.") from error


def _check_connected() -> None:
    """Raise ConnectionError where the connection is gone: whatever is asked of Ray then would start a new cluster."""
    if not ray.is_initialized():
        raise ConnectionError("the connection to the cluster broke")


def why_lost(error: Exception) -> str:
    """Why an assignment was lost, in words."""
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


def _last_words(error: Exception) -> str:
    """The end of the traceback of a task that raised; a process that died says nothing here."""
    if not isinstance(error, exceptions.RayTaskError):
        return ""
    return "\n".join(str(error).strip().splitlines()[-_TAIL:])


def build(crew: ExecutorSpec) -> RayExecutor:
    """Tasks on a Ray cluster: one that is started here, or the one at the crew's address."""
    return RayExecutor(crew)
