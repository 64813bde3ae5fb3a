"""Descriptions and recommendations of the rules in the report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from clearsight.core.finding import Finding, flags


class RuleDescription(NamedTuple):
    """Text about a rule. description: the question that it answers.  recommendation: a general remedy."""

    description: str
    recommendation: str


DESCRIPTIONS = {
    "BatchSize": RuleDescription(
        "Is neither the processor nor the GPU nor its memory used to the full, so that a larger batch would fit?",
        "Train with a larger batch, or on a smaller machine.",
    ),
    "CPUBottleneck": RuleDescription(
        "Are the cores fully used while the GPU waits for them?",
        "Reduce the work per image, or use a machine with more cores per GPU.",
    ),
    "Dataloader": RuleDescription(
        "Are there too few or too many loader workers for the number of cores?",
        "Use about as many loader workers as there are cores.",
    ),
    "GPUMemoryIncrease": RuleDescription(
        "Does the memory in use on a GPU grow during training?",
        "Look for tensors that are kept from step to step, such as losses in a list together with their graph.",
    ),
    "IOBottleneck": RuleDescription(
        "Do the cores wait for the disk or the network while the GPU waits for them?",
        "Keep the images on a local disk or in memory, in few large files.",
    ),
    "LoadBalancing": RuleDescription(
        "Do the GPUs of one machine have different amounts of work?",
        "Split batches evenly, and look for work that is done on the first GPU only.",
    ),
    "LowGPUUtilization": RuleDescription(
        "Is the device hardly used, or used with breaks?",
        "Find out what limits it: waiting for batches, steps with too little work, or checkpoints.",
    ),
    "MaxInitializationTime": RuleDescription(
        "Does it take long from the start of the job to its first step?",
        "Keep the results of the preparation: copied files, downloaded weights, compiled code.",
    ),
    "OverallFrameworkMetrics": RuleDescription("It reports the phases of training steps and their durations.", ""),
    "OverallSystemUsage": RuleDescription("It reports the use of the machine.", ""),
    "StepOutlier": RuleDescription(
        "Do some steps take much longer than the others?",
        "Find what these steps have in common: waiting for a batch, a checkpoint, or other work on the machine.",
    ),
}


def recommendation(rule: str, found: Sequence[Finding]) -> str:
    """Return the fix and the advice of the worst finding, else the general remedy."""
    if not found:
        return DESCRIPTIONS[rule].recommendation
    worst = found[0]  # rules yield the worst finding first
    change = f"Set {flags(worst.fix)}." if worst.fix else ""
    text = " ".join(part for part in (change, worst.advice) if part)
    return text or DESCRIPTIONS[rule].recommendation
