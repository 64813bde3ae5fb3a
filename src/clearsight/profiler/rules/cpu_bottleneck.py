"""CPUBottleneck: the cores are full while the device has nothing to do."""

from __future__ import annotations

from collections.abc import Iterator

from clearsight.core.finding import Finding
from clearsight.core.rule import Needs, Rule
from clearsight.core.settings import setting
from clearsight.core.view import RunView
from clearsight.profiler.analysis.idleness import Idleness, idleness
from clearsight.profiler.analysis.window import LEAST


class CPUBottleneck(Rule):
    """Found when at more than `threshold` per cent of the looks the cores are above `cpu_threshold` and the GPUs in
    use, on average, below `gpu_threshold`.

    Then more readers do not help, less work per image does. Without a GPU the cores are full in every good run; the
    looks that count there are those at which the step that ran spent over half of its time waiting for its batch: the
    cores prepare images and do not train. SageMaker's rule cannot speak without a GPU.
    """

    topic = "speed"
    explains = ("LowGPUUtilization", "BatchSize")

    threshold: float = setting(50.0, "share of the looks", above=0, below=100, unit="%")
    gpu_threshold: float = setting(10.0, "use of the GPUs below which they are idle", above=0, high=100, unit="%")
    cpu_threshold: float = setting(90.0, "use of the cores above which they are full", low=0, below=100, unit="%")
    patience: int | None = setting(
        None, "looks before it speaks [default: a fifth of the planned run, at least 20]", low=1, unit="looks"
    )

    def needs(self) -> Needs:
        return Needs(counted="looks", points=self.patience or LEAST)

    def check(self, view: RunView) -> Iterator[Finding]:
        seen = idleness(view, "cpu", gpu_below=self.gpu_threshold, patience=self.patience)
        if not seen.looks.enough:
            yield self.not_enough_data(have=seen.looks.have, want=seen.looks.wanted)
            return
        full = seen.looks.values["cpu"] > self.cpu_threshold
        share = 100 * float((full & seen.idle).mean())
        if share <= self.threshold:
            yield self.clear(value=share, threshold=self.threshold, unit="% of the looks")
            return
        yield self._full(view, seen, share)

    def _full(self, view: RunView, seen: Idleness, share: float) -> Finding:
        forgets = view.facts.settings.get("keep_pixels") is False
        return self.found(
            value=share,
            threshold=self.threshold,
            unit="% of the looks",
            steps=seen.looks.span,
            cause=(
                f"at {share:.0f} % of {len(seen.looks)} looks the cores were above {self.cpu_threshold:.0f} % "
                f"while {seen.how}: preparing images takes all of the processor"
            ),
            fix={"keep_pixels": True} if forgets else {},
            advice=(
                "Keep decoded images in memory between epochs."
                if forgets
                else "Give the processor less to do per image: store smaller images, or augment more lightly."
            ),
            confidence=0.9 if seen.gpus else 0.8,
            evidence=seen.looks.series("cpu", *seen.gpus),
        )
