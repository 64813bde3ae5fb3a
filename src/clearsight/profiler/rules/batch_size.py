"""BatchSize: neither the cores nor the device nor its memory is used to the full, and a larger batch would use them."""

from __future__ import annotations

from clearsight.core.finding import Finding
from clearsight.core.settings import setting
from clearsight.core.view import RunView
from clearsight.profiler.analysis.window import (
    HIGH_WAIT_SHARE,
    Window,
    gpu_gauges,
    overall_wait_share,
    patience_setting,
    sample_window,
    used_gpus,
)
from clearsight.profiler.rules.speed_rule import SampleRule

_MAX_MEMORY = 90.0  # per cent of the memory that a larger batch may fill; peaks between two samples are not seen
_MAX_FACTOR = 2.0  # a larger step away from the measured batch size would be a guess
_MULTIPLE = 8  # images: batches of a multiple are fastest


class BatchSize(SampleRule):
    """Found when even the busiest samples (95th percentile) leave cores, GPUs and GPU memory below their thresholds.

    A step is then too small for the machine, and more images per step take little longer. The proposed batch is twice
    as large, or smaller if twice the memory in use would not fit. If steps wait for their batches, that is the cause,
    and no larger batch is proposed. With several GPUs, all of those in use must be below.
    Without a GPU the processor is the device: this job's use of the cores that torch may use is compared with
    `gpu_threshold_p95`, and the machine's memory with `gpu_memory_threshold_p95`. Cores that other processes occupy
    would not serve a larger batch.
    SageMaker's rule ignores waiting, and first judges 500 samples, after 1,000 at the earliest.
    """

    explains = ("LowGPUUtilization",)

    cpu_threshold_p95: float = setting(70.0, "use of the cores, 95th percentile", above=0, high=100, unit="%")
    gpu_threshold_p95: float = setting(70.0, "use of the device, 95th percentile", above=0, high=100, unit="%")
    gpu_memory_threshold_p95: float = setting(
        70.0, "device memory in use, 95th percentile", above=0, high=100, unit="%"
    )
    patience: int | None = patience_setting()
    window: int | None = setting(None, "newest samples that count [default: up to 500]", low=1, unit="samples")

    def verdict(self, view: RunView) -> Finding:
        devices = used_gpus(view.profile) or view.profile.devices()
        memories = tuple(f"{name}.memory" for name in devices) if gpu_gauges(view.profile) else ("memory",)
        samples = sample_window(view, (*devices, *memories, "cpu"), length=self.window, patience=self.patience)
        if not devices or not samples.enough:
            return self.too_few_samples(samples)
        device = min(100.0, max(samples.percentile(name, 95) for name in devices) / _usable_share(view))
        # The fullest GPU decides: a larger batch needs room on all of them.
        memory = max(samples.percentile(name, 95) for name in memories)
        cpu = samples.percentile("cpu", 95)
        full = device >= self.gpu_threshold_p95 or memory >= self.gpu_memory_threshold_p95
        if full or cpu >= self.cpu_threshold_p95:
            return self.clear(value=device, threshold=self.gpu_threshold_p95, unit="%")
        return self._small_batch(view, samples, device, memory, cpu)

    def _small_batch(self, view: RunView, samples: Window, device: float, memory: float, cpu: float) -> Finding:
        on_gpu, wait_share = bool(gpu_gauges(view.profile)), overall_wait_share(view.profile)
        waits = wait_share is not None and wait_share > HIGH_WAIT_SHARE
        use = f"at most {device:.0f} % of the {'GPU' if on_gpu else 'processor'} and {memory:.0f} % of its memory"
        cores = f", and {cpu:.0f} % of the cores" if on_gpu else ""
        wait = f"; steps wait for their batches for {100 * (wait_share or 0):.0f} % of the time" if waits else ""
        now = view.context.batch_size or view.profile.machine.batch_size
        larger = 0 if waits else _larger(now, memory, view.context.train_size)
        batches = f"batches of {now}" if now else "batches"
        return self.found(
            value=device,
            threshold=self.gpu_threshold_p95,
            unit="%",
            steps=samples.step_range,
            cause=f"{batches} use {use}{cores}{wait}",
            fix={"batch_size": larger} if larger and view.context.settings else {},
            advice=_advice(waits, larger),
            because=("DataWait",) if waits else (),
            # Without timed phases or without a GPU, the reason why the device is free is less certain.
            confidence=0.8 if on_gpu and wait_share is not None else 0.6,
            evidence=samples.series(*samples.values),
        )


def _usable_share(view: RunView) -> float:
    """Return the share of the cores that training can use: less than all if torch has fewer threads."""
    machine = view.profile.machine
    if gpu_gauges(view.profile) or not machine.threads or not machine.cores:
        return 1.0
    return min(1.0, machine.threads / machine.cores)


def _larger(now: int, memory: float, images: int) -> int:
    """Return a larger batch size that fits, up to twice as large; 0 if there is none. memory: per cent in use."""
    size = int(now * min(_MAX_FACTOR, _MAX_MEMORY / max(memory, 1.0)))
    if images:
        size = min(size, images // 2)  # an epoch of one step could not be shuffled or scheduled
    size -= size % _MULTIPLE if size > _MULTIPLE else 0
    return size if size > now else 0


def _advice(waits: bool, larger: int) -> str:
    if waits:
        return "Make batches arrive in time first: a larger batch takes longer to prepare."
    if larger:
        return f"Train on batches of {larger}, and raise the learning rate by at most the same factor."
    return "Try a larger batch size, a larger image size or a larger network: the machine has room for it."
