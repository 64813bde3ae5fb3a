"""IOBottleneck: cores wait for storage while the device has nothing to do."""

from __future__ import annotations

from collections.abc import Iterator

from clearsight.core.finding import Finding
from clearsight.core.profile import Machine
from clearsight.core.rule import Needs, Rule
from clearsight.core.settings import setting
from clearsight.core.view import RunView
from clearsight.profiler.analysis.idleness import Idleness, idleness
from clearsight.profiler.analysis.window import LEAST


class IOBottleneck(Rule):
    """Found when at more than `threshold` per cent of the looks readers wait for storage for over `io_threshold` of
    their time and the GPUs in use, on average, are below `gpu_threshold`.

    A reader that waits makes one core wait: with 4 readers on 16 cores all of them waiting is 25 % of the cores' time.
    `io_threshold` is therefore a share of what the readers can make wait; SageMaker's, a share of all cores, is out of
    reach where there are fewer readers than cores. Without a GPU the looks that count are those at which the step
    that ran spent over half of its time waiting for its batch; SageMaker's rule cannot speak there.
    """

    topic = "speed"
    explains = ("LowGPUUtilization", "BatchSize")

    threshold: float = setting(50.0, "share of the looks", above=0, below=100, unit="%")
    gpu_threshold: float = setting(10.0, "use of the GPUs below which they are idle", above=0, high=100, unit="%")
    io_threshold: float = setting(
        50.0, "share of the readers' time that is waiting for storage", low=0, below=100, unit="%"
    )
    patience: int | None = setting(
        None, "looks before it speaks [default: a fifth of the planned run, at least 20]", low=1, unit="looks"
    )

    def needs(self) -> Needs:
        return Needs(counted="looks", points=self.patience or LEAST)

    def check(self, view: RunView) -> Iterator[Finding]:
        seen = idleness(view, "cpu.iowait", gpu_below=self.gpu_threshold, patience=self.patience)
        if not seen.looks.enough:
            yield self.not_enough_data(have=seen.looks.have, want=seen.looks.wanted)
            return
        border = self.io_threshold * _reach(view.profile.machine)
        blocked = seen.looks.values["cpu.iowait"] > border
        share = 100 * float((blocked & seen.idle).mean())
        if share <= self.threshold:
            yield self.clear(value=share, threshold=self.threshold, unit="% of the looks")
            return
        yield self._blocked(view, seen, share)

    def _blocked(self, view: RunView, seen: Idleness, share: float) -> Finding:
        forgets = view.facts.settings.get("keep_pixels") is False
        mean = seen.looks.values["cpu.iowait"].mean()
        return self.found(
            value=share,
            threshold=self.threshold,
            unit="% of the looks",
            steps=seen.looks.span,
            cause=(
                f"at {share:.0f} % of {len(seen.looks)} looks readers waited for storage while {seen.how}: "
                f"on average that is {mean:.0f} % of the cores' time"
            ),
            fix={"keep_pixels": True} if forgets else {},
            advice="Copy the images to a local disk, or read them from one archive instead of many small files.",
            confidence=0.9 if seen.gpus else 0.8,
            evidence=seen.looks.series("cpu.iowait", *seen.gpus),
        )


def _reach(machine: Machine) -> float:
    """Share of the cores that the readers can make wait, in (0, 1]; 1 where it is not known."""
    if machine.workers is None or not machine.cores:
        return 1.0
    return min(1.0, max(1, machine.workers) / machine.cores)
