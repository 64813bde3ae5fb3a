"""What each rule of the report looks for, and what to do where it found something, in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from clearsight.core.finding import Finding, flags


class RuleWords(NamedTuple):
    """description: what the rule asks.  recommendation: what helps in general."""

    description: str
    recommendation: str


WORDS = {
    "BatchSize": RuleWords(
        "Is neither the processor nor the GPU nor its memory used to the full, so that a larger batch would fit?",
        "Train with a larger batch, or on a smaller machine.",
    ),
    "CPUBottleneck": RuleWords(
        "Do the cores have all they can do while the GPU waits for them?",
        "Give the processor less to do per image, or take a machine with more cores per GPU.",
    ),
    "Dataloader": RuleWords(
        "Do too few readers prepare batches for the cores that there are, or too many?",
        "Read with about as many workers as there are cores.",
    ),
    "GPUMemoryIncrease": RuleWords(
        "Does the memory in use on a GPU grow while it trains?",
        "Look for tensors that are kept from step to step, such as losses in a list with all that they were made of.",
    ),
    "IOBottleneck": RuleWords(
        "Do the cores wait for the disk or the network while the GPU waits for them?",
        "Keep the images on a local disk or in memory, in few large files.",
    ),
    "LoadBalancing": RuleWords(
        "Do the GPUs of one machine have different amounts to do?",
        "Share batches evenly; look for work that is done on the first GPU only.",
    ),
    "LowGPUUtilization": RuleWords(
        "Is the device used little, or with breaks?",
        "Look at what it waits for: batches, steps that are too small, or checkpoints.",
    ),
    "MaxInitializationTime": RuleWords(
        "Does it take long from the start of the job to its first step?",
        "Keep what is prepared before training: copied files, downloaded weights, compiled code.",
    ),
    "OverallFrameworkMetrics": RuleWords("It reports where the time of training steps went.", ""),
    "OverallSystemUsage": RuleWords("It reports how much of the machine was used.", ""),
    "StepOutlier": RuleWords(
        "Do some steps take much longer than the others?",
        "Look at what these steps have in common: waiting for a batch, a checkpoint, or other work on the machine.",
    ),
}


def recommendation(rule: str, found: Sequence[Finding]) -> str:
    """What to do: what the worst finding says of this run, else what helps in general."""
    if not found:
        return WORDS[rule].recommendation
    worst = found[0]
    change = f"Set {flags(worst.fix)}." if worst.fix else ""
    said = " ".join(part for part in (change, worst.advice) if part)
    return said or WORDS[rule].recommendation
