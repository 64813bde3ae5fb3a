"""BatchSize: neither processor nor memory is used to the full, and a larger batch would use them."""

from __future__ import annotations

from collections.abc import Iterator

from clearsight.core.finding import Finding
from clearsight.core.rule import Needs, Rule
from clearsight.core.settings import setting
from clearsight.core.view import RunView
from clearsight.profiler.analysis.window import LEAST, WAITS, Window, gpus, in_use, waiting, window

_ROOM = 90.0  # per cent of the memory that a larger batch may fill
_TWICE = 2.0
_EIGHT = 8  # images: batches of a multiple are fastest


class BatchSize(Rule):
    """Found when even the busiest looks (95th percentile) leave cores, GPUs and GPU memory below their thresholds.

    Then a step is too small for the machine, and more images per step take little longer. The batch that is advised
    is twice as large, or less where twice the memory in use would not fit. Where steps wait for their batches, that is
    the cause, and no larger batch is advised. With several GPUs all of those in use must be below.
    Without a GPU the processor is the device: its use by this job is held against `gpu_threshold_p95`, as a share of
    the cores that torch may use, and the machine's memory against `gpu_memory_threshold_p95`. Cores that other
    processes take are none that a larger batch could use.
    SageMaker's rule knows nothing of waiting, and speaks of the first 500 looks after 1,000 at the earliest.
    """

    topic = "speed"
    explains = ("LowGPUUtilization",)

    cpu_threshold_p95: float = setting(70.0, "use of the cores, 95th percentile", above=0, high=100, unit="%")
    gpu_threshold_p95: float = setting(70.0, "use of the device, 95th percentile", above=0, high=100, unit="%")
    gpu_memory_threshold_p95: float = setting(
        70.0, "device memory in use, 95th percentile", above=0, high=100, unit="%"
    )
    patience: int | None = setting(
        None, "looks before it speaks [default: a fifth of the planned run, at least 20]", low=1, unit="looks"
    )
    window: int | None = setting(None, "newest looks that count [default: up to 500]", low=1, unit="looks")

    def needs(self) -> Needs:
        return Needs(counted="looks", points=self.patience or LEAST)

    def check(self, view: RunView) -> Iterator[Finding]:
        devices, memories, cores = _gauges(view)
        looks = window(view, (*devices, *memories, *cores), length=self.window, patience=self.patience)
        if not devices or not looks.enough:
            yield self.not_enough_data(have=looks.have, want=looks.wanted)
            return
        device = min(100.0, max(looks.percentile(name, 95) for name in devices) / _usable(view))
        memory = max(looks.percentile(name, 95) for name in memories)
        cpu = max(looks.percentile(name, 95) for name in cores)
        full = device >= self.gpu_threshold_p95 or memory >= self.gpu_memory_threshold_p95
        if full or cpu >= self.cpu_threshold_p95:
            yield self.clear(value=device, threshold=self.gpu_threshold_p95, unit="%")
            return
        yield self._small(view, looks, device, memory, cpu)

    def _small(self, view: RunView, looks: Window, device: float, memory: float, cpu: float) -> Finding:
        on_gpu, wait = bool(gpus(view.profile)), waiting(view.profile)
        waits = wait is not None and wait > WAITS
        used = f"the {'GPU' if on_gpu else 'processor'} to {device:.0f} % and its memory to {memory:.0f} %"
        beside = f", the cores to {cpu:.0f} %" if on_gpu else ""
        why = f"; {100 * (wait or 0):.0f} % of the time steps wait for their batches" if waits else ""
        now = view.facts.batch_size or view.profile.machine.batch_size
        then = 0 if waits else _larger(now, memory, view.facts.train_size)
        of = f"batches of {now} use " if now else "batches use "
        return self.found(
            value=device,
            threshold=self.gpu_threshold_p95,
            unit="%",
            steps=looks.span,
            cause=f"{of}{used} at the most{beside}{why}",
            fix={"batch_size": then} if then and view.facts.settings else {},
            advice=_advice(waits, then),
            because=("DataWait",) if waits else (),
            confidence=0.8 if on_gpu and wait is not None else 0.6,
            evidence=looks.series(*looks.values),
        )


def _gauges(view: RunView) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """Gauges of the devices, of their memory, and of the cores, whoever uses them."""
    if gpus(view.profile):
        used = in_use(view.profile)
        return used, tuple(f"{name}.memory" for name in used), ("cpu",)
    return view.profile.devices(), ("memory",), ("cpu",)


def _usable(view: RunView) -> float:
    """Share of the cores that the device may be: less than all where torch was given fewer threads."""
    machine = view.profile.machine
    if gpus(view.profile) or not machine.threads or not machine.cores:
        return 1.0
    return min(1.0, machine.threads / machine.cores)


def _larger(now: int, memory: float, images: int) -> int:
    """A batch that fits, up to twice as large; 0 where there is none."""
    size = int(now * min(_TWICE, _ROOM / max(memory, 1.0)))
    if images:
        size = min(size, images // 2)
    size -= size % _EIGHT if size > _EIGHT else 0
    return size if size > now else 0


def _advice(waits: bool, then: int) -> str:
    if waits:
        return "First see to it that batches come in time: a larger one takes as much longer to prepare."
    if then:
        return f"Train on batches of {then}; the learning rate may rise with them, by the same factor at the most."
    return "Try larger batches, a larger image size or a larger network: the machine has room for it."
