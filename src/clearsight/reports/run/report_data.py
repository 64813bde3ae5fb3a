"""RunReportData: everything that the page of a run shows, as plain values. The workflow gathers them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

from clearsight.core.errors import BadValue
from clearsight.core.finding import Finding
from clearsight.core.profile import Profile


@dataclass(frozen=True, kw_only=True, slots=True)
class RunReportData:
    """One run in plain values (what JSON can hold). Only `name` and `status` are required.

    status: a value of core.events.RunStatus; reason: why it ended so.
    recipe: the recipe as YAML.
    data: {"path", "format", "fingerprint", "classes": [name], "counts": {split: {class: count}}}.
    command: the words of the command line that started the run.
    epochs: EpochRecords as mappings, in order.  steps: all rows of metrics.jsonl; charts thin them out.
    evaluation: {"accuracy", "top5", "macro_f1", "roc_auc", "ece", "n", "per_class": {name: {"precision", "recall",
        "f1", "support"}}, "confusion": {"labels", "matrix"}}, or None when nothing was evaluated.
    failed_steps: {"step", "problem", "command"} of the steps after the training that failed.
    split: the split that was evaluated.
    reliability: bins {"confidence", "accuracy", "count"}.
    mistakes: {"id", "true", "predicted", "probability", "thumbnail": data URI}, most confident first.
    notices: {"code", "text", "paths"} about the data; `paths` may be missing.
    typical: images that are predicted correctly, as mistakes.  samples: {"id", "label", "thumbnail"} of training images
        as the model gets them, augmented.
    findings: every verdict of every rule, in the order in which they should be read.
    rules: {"name", "parameters": {name: value}, "topic": "learning" | "speed"} of every rule that ran.
    actions: {"step", "rule", "action", "changed": {field: value}, "outcome"}, taken because of findings.
    profile: measurements of the machine.  hotlines: {"where", "share"} of lines of code by their share of the time, in
        [0, 1].
    what_if: {"name", "change", "images_per_second_now", "images_per_second_then", "basis"}.
    external: True for a training loop that clearsight did not run: no data, times or evaluation are known of it.
    refit: {"epochs", "images", "reason"} of the second training that --refit asked for, or None.
    second_phase: which phase the model is of and why, as a sentence; "" where that was not decided.
    tuning: {"chosen": {field: value}, "rows": [{"settings", "images_per_second", "spread", "note"}], "why"}.
    """

    name: str
    status: str
    reason: str = ""
    recipe: str = ""
    seed: int | None = None
    data: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    hardware: Mapping[str, Any] = field(default_factory=dict)
    command: Sequence[str] = ()
    seconds: float = 0.0
    images_per_second: float | None = None
    best_epoch: int | None = None
    epochs: Sequence[Mapping[str, Any]] = ()
    steps: Sequence[Mapping[str, Any]] = ()
    evaluation: Mapping[str, Any] | None = None
    failed_steps: Sequence[Mapping[str, Any]] = ()
    split: str = "test"
    reliability: Sequence[Mapping[str, Any]] = ()
    mistakes: Sequence[Mapping[str, Any]] = ()
    notices: Sequence[Mapping[str, Any]] = ()
    typical: Sequence[Mapping[str, Any]] = ()
    samples: Sequence[Mapping[str, Any]] = ()
    findings: Sequence[Finding] = ()
    rules: Sequence[Mapping[str, Any]] = ()
    actions: Sequence[Mapping[str, Any]] = ()
    profile: Profile | None = None
    hotlines: Sequence[Mapping[str, Any]] = ()
    what_if: Sequence[Mapping[str, Any]] = ()
    tuning: Mapping[str, Any] | None = None
    external: bool = False
    refit: Mapping[str, Any] | None = None
    second_phase: str = ""

    @property
    def settings(self) -> dict[str, Any]:
        """Settings of the recipe by name; {} without a recipe. Raises BadValue when `recipe` is not a YAML mapping."""
        try:
            sections = yaml.safe_load(self.recipe) or {}  # an external loop has no recipe
        except yaml.YAMLError as error:
            raise BadValue("recipe", f"it is not valid YAML ({' '.join(str(error).split())})") from None
        if not isinstance(sections, dict):
            raise BadValue("recipe", "it must be a mapping of settings, such as 'lr: 0.001'")
        # Recipes are sections of settings; names are unique over all of them, as on the command line.
        flat: dict[str, Any] = {}
        for key, value in sections.items():
            flat.update(value if isinstance(value, dict) else {key: value})
        return flat

    @property
    def best(self) -> Mapping[str, Any] | None:
        """Epoch whose weights are the model: `best_epoch`, else the last one marked best, else the last."""
        marked = [epoch for epoch in self.epochs if epoch["epoch"] == self.best_epoch]
        # While a run trains, best_epoch is not set yet and the last marked epoch is the best so far.
        marked = marked or [epoch for epoch in self.epochs if epoch.get("best")] or list(self.epochs)
        return marked[-1] if marked else None

    @property
    def speed_rules(self) -> set[str]:
        """Names of the rules about how fast the run is."""
        return {rule["name"] for rule in self.rules if rule.get("topic") == "speed"}

    def images(self, split: str) -> int:
        """Return the number of images of a split."""
        return sum(self.data.get("counts", {}).get(split, {}).values())
