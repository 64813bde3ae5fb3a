"""Measured: what a run folder says of how fast the run was."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from clearsight.core.errors import BadValue, ClearsightError, NotFound
from clearsight.core.files import read_jsonl
from clearsight.core.finding import Finding
from clearsight.core.profile import Floats, Profile
from clearsight.core.profile_folder import read_profile
from clearsight.core.recipe import Recipe
from clearsight.core.rule import Rule
from clearsight.core.settings import aliases
from clearsight.workflow.run.rules import BOOK, rules_of

# The rules that SageMaker reports on, in the order of their names.
RULES = (
    "BatchSize",
    "CPUBottleneck",
    "Dataloader",
    "GPUMemoryIncrease",
    "IOBottleneck",
    "LoadBalancing",
    "LowGPUUtilization",
    "MaxInitializationTime",
    "OverallFrameworkMetrics",
    "OverallSystemUsage",
    "StepOutlier",
)
NODE = "algo-1"  # how SageMaker calls the machine of a job on one machine


@dataclass(frozen=True, kw_only=True, slots=True)
class Stages:
    """When a job began and ended, UNIX seconds, and how long its three parts took."""

    start: float
    end: float
    initialisation: float
    training: float
    finalisation: float


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A run's name, its profile, what the rules said of it by rule, and the rules that it was asked with by name."""

    name: str
    profile: Profile
    findings: Mapping[str, tuple[Finding, ...]]
    rules: Mapping[str, Rule]

    def asked(self, rule: str) -> bool:
        """Whether a rule has looked at the run."""
        return bool(self.findings.get(rule))

    def found(self, rule: str) -> tuple[Finding, ...]:
        """What a rule found, the worst first; () where it found nothing or was not asked."""
        return tuple(finding for finding in self.findings.get(rule, ()) if finding.found)

    def parameters(self, rule: str) -> dict[str, Any]:
        """A rule's parameters by SageMaker's names, as they were where the run says so, else as they are by default."""
        made = self.rules.get(rule) or BOOK.load(rule)()
        told = made.parameters()
        return {(aliases(info) or (name,))[0]: told[name] for name, info in type(made).model_fields.items()}

    @cached_property
    def gpus(self) -> tuple[str, ...]:
        """Gauges of the GPUs, gpu0, gpu1, ...; () without any."""
        return tuple(name for name in self.profile.devices() if name.startswith("gpu"))

    def training(self, gauge: str) -> Floats:
        """A gauge from the first training step to the end of the last, (T,); empty where it was not read."""
        return self.profile.within(self.profile.gauge(gauge)).values

    @cached_property
    def stages(self) -> Stages | None:
        """The parts of the job; None where no training step was timed."""
        profile, table = self.profile, self.profile.steps()
        if not len(table):
            return None
        first, last = float(table.starts[0]), float(table.starts[-1] + table.seconds[-1])
        spans = [span for span in profile.stretches if span.rank == 0]
        looks = [look.time for look in profile.looks if look.rank == 0]
        begun = [profile.machine.launched] if profile.machine.launched else [span.start for span in spans]
        start = min([first, *begun, *looks[:1]])
        end = max([last, *(span.start + span.seconds for span in spans), *looks[-1:]])
        return Stages(
            start=start, end=end, initialisation=first - start, training=last - first, finalisation=end - last
        )


def measured(run: Path) -> Measured:
    """What lies in the run folder `run`, of clearsight's own training or of a script that it watched.

    Raises NotFound where there is no such folder, or nothing of a run in it, BadData or BadValue where its files are
    damaged.
    """
    if not run.is_dir():
        raise NotFound(str(run), "there is no such folder")
    if not any((run / name).exists() for name in ("profile", "findings.jsonl", "run.json")):
        raise NotFound(
            str(run),
            "there is no run in this folder (no profile/, findings.jsonl or run.json)",
            fix="Name the folder that a training wrote with --out.",
        )
    try:
        profile, findings = read_profile(run / "profile"), _findings(run / "findings.jsonl")
    except (ValueError, KeyError, TypeError) as error:
        raise BadValue(str(run), f"what was measured there is damaged ({error})") from error
    return Measured(name=run.resolve().name, profile=profile, findings=findings, rules=_rules(run / "recipe.yaml"))


def _findings(path: Path) -> dict[str, tuple[Finding, ...]]:
    """Verdicts by rule, in the order in which they were written."""
    found: dict[str, tuple[Finding, ...]] = {}
    for line in read_jsonl(path):
        finding = Finding.from_json(line)
        found[finding.rule] = (*found.get(finding.rule, ()), finding)
    return found


def _rules(recipe: Path) -> dict[str, Rule]:
    """The rules as the run was asked with them; {} where a script was watched, or a rule of its own is gone."""
    if not recipe.is_file():
        return {}
    try:
        return {rule.name: rule for rule in rules_of(Recipe.load(recipe)) if rule.name in RULES}
    except ClearsightError:
        return {}
