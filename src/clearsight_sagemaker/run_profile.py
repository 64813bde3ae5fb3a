"""RunProfile: the measurements of speed in a run folder, and the findings about them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from clearsight.core.errors import BadValue, ClearsightError, NotFound
from clearsight.core.finding import Finding, read_findings
from clearsight.core.profile import Floats, Profile
from clearsight.core.profile_folder import read_profile
from clearsight.core.recipe import Recipe
from clearsight.core.rule import Rule
from clearsight.core.settings import aliases
from clearsight.workflow.run.rules import ALL_RULES, recipe_rules

NODE = "algo-1"  # SageMaker's name for the machine of a job on one machine


@dataclass(frozen=True, kw_only=True, slots=True)
class Stages:
    """Start and end of a job, UNIX seconds, and the durations of its three parts, seconds."""

    start: float
    end: float
    initialisation: float
    training: float
    finalisation: float


@dataclass(frozen=True, kw_only=True)
class RunProfile:
    """Profile of a run. findings: of each rule, in the order they were written.  rules: with the run's parameters.

    rule_parameters: by rule and SageMaker's names, in place of those of `rules`.  whole_job: gauges count from the
    first sample to the last, as in SageMaker, and not from the first training step to the last.
    """

    name: str
    profile: Profile
    findings: Mapping[str, tuple[Finding, ...]]
    rules: Mapping[str, Rule]
    rule_parameters: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    whole_job: bool = False

    def found(self, rule: str) -> tuple[Finding, ...]:
        """Return what a rule found, the worst first; () if it found nothing or did not check the run."""
        return tuple(finding for finding in self.findings.get(rule, ()) if finding.found)

    def parameters(self, rule: str) -> dict[str, Any]:
        """Return a rule's parameters by SageMaker's names: those of the run if known, else the defaults."""
        if rule in self.rule_parameters:
            return dict(self.rule_parameters[rule])
        instance = self.rules.get(rule) or ALL_RULES.load(rule)()
        values = instance.parameters()
        return {(aliases(info) or (name,))[0]: values[name] for name, info in type(instance).model_fields.items()}

    @cached_property
    def gpus(self) -> tuple[str, ...]:
        """Gauges of the GPUs, gpu0, gpu1, ...; () without any."""
        # Without a GPU the devices are the cores.
        return tuple(name for name in self.profile.devices() if name.startswith("gpu"))

    def training(self, gauge: str) -> Floats:
        """Return a gauge from the first training step to the end of the last, (T,); empty if it was not read."""
        series = self.profile.gauge(gauge)
        return (series if self.whole_job else self.profile.within(series)).values

    def joint_samples(self, gauges: Sequence[str]) -> Floats:
        """Return gauges at the samples during training that hold all of them, (gauges, T)."""
        profile, table = self.profile, self.profile.steps()
        first, last = -np.inf, np.inf
        if not self.whole_job:
            if not len(table):
                return np.empty((len(gauges), 0))
            first, last = table.starts[0], table.starts[-1] + table.seconds[-1]
        rows = [
            [sample.values[name] for name in gauges]
            for sample in profile.gauge_samples
            if sample.rank == 0 and first <= sample.time <= last and all(name in sample.values for name in gauges)
        ]
        return np.array(rows, np.float64).reshape(-1, len(gauges)).T

    @cached_property
    def stages(self) -> Stages | None:
        """Parts of the job; None if no training step was timed."""
        profile, table = self.profile, self.profile.steps()
        if not len(table):
            return None
        first, last = float(table.starts[0]), float(table.starts[-1] + table.seconds[-1])
        spans = [span for span in profile.all_spans if span.rank == 0]
        times = [sample.time for sample in profile.gauge_samples if sample.rank == 0]
        # A script that was profiled from outside has no launch time; its first span or sample is the earliest trace.
        starts = [profile.machine.launched] if profile.machine.launched else [span.start for span in spans]
        start = min([first, *starts, *times[:1]])
        end = max([last, *(span.start + span.seconds for span in spans), *times[-1:]])
        return Stages(
            start=start, end=end, initialisation=first - start, training=last - first, finalisation=end - last
        )


def read_run(run: Path) -> RunProfile:
    """Read the run folder `run`, of clearsight's own training or of a profiled script.

    Raises NotFound if there is no such folder or no run in it, BadData or BadValue if its files are damaged.
    """
    if not run.is_dir():
        raise NotFound(str(run), "there is no such folder")
    # A profiled script writes no run.json, and a training with --profile off no profile/; one of them is enough.
    if not any((run / name).exists() for name in ("profile", "findings.jsonl", "run.json")):
        raise NotFound(
            str(run),
            "there is no run in this folder (no profile/, findings.jsonl or run.json)",
            fix="Pass the folder that a training run wrote with --out.",
        )
    try:
        profile = read_profile(run / "profile")
        findings: dict[str, tuple[Finding, ...]] = {}
        for finding in read_findings(run / "findings.jsonl"):
            findings[finding.rule] = (*findings.get(finding.rule, ()), finding)
    except (ValueError, KeyError, TypeError) as error:
        raise BadValue(str(run), f"its measurements are damaged ({error})") from error
    return RunProfile(name=run.resolve().name, profile=profile, findings=findings, rules=_rules(run / "recipe.yaml"))


def _rules(recipe: Path) -> dict[str, Rule]:
    """Return the rules with the run's parameters; {} for a profiled script."""
    if not recipe.is_file():
        return {}
    try:
        return {rule.name: rule for rule in recipe_rules(Recipe.load(recipe))}
    except ClearsightError:  # a rule file of the user has gone since; the report is then made with the defaults
        return {}
