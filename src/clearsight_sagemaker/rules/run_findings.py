"""Findings of clearsight's own rules about a job, beside those that SageMaker defines."""

from __future__ import annotations

from pathlib import Path

from clearsight.core.errors import ClearsightError
from clearsight.core.finding import Finding, flags
from clearsight.workflow.debug import debug


def finding_sentence(run: Path, rule: str) -> str:
    """Return what clearsight's rule of a name finds in a run folder; "" where it finds nothing, or there is neither.

    The rule has its own default parameters: it measures otherwise than SageMaker's.
    """
    try:
        findings = debug(run, rules="none", rule=[rule]).findings
    except ClearsightError:  # no rule of the name, a parameter that it needs, or no run: only the detail is missing
        return ""
    found = next((finding for finding in findings if finding.found), None)
    return f"clearsight: {_sentence(found)}" if found is not None else ""


def _sentence(finding: Finding) -> str:
    measured = ""
    if finding.value is not None and finding.threshold is not None:
        unit = f" {finding.unit}" if finding.unit else ""
        measured = f" ({finding.value:.3g}{unit}, threshold {finding.threshold:.3g}{unit})"
    change = f"Set {flags(finding.fix)}." if finding.fix else ""
    advice = " ".join(part for part in (change, finding.advice) if part)
    return f"{finding.cause}{measured}.{' ' + advice if advice else ''}"
