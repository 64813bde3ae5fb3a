"""Section of the provenance of a study: its plan, its space, and everything needed to search again."""

from __future__ import annotations

from clearsight.core.format import duration
from clearsight.core.secrets import redact
from clearsight.core.space import Choice, Dimension
from clearsight.reports.kit.format import general
from clearsight.reports.kit.section import PageSection, Table, table
from clearsight.reports.run.provenance import provenance as run_provenance
from clearsight.reports.run.report_data import RunReportData
from clearsight.reports.study.field_axis import value_text
from clearsight.reports.study.metric import metric_name
from clearsight.reports.study.report_data import StudyReportData


def provenance(report: StudyReportData) -> PageSection:
    """Return the section of a run with the plan and the space in front."""
    section = run_provenance(
        RunReportData(
            name=report.name,
            status=report.status,
            recipe=report.recipe,
            seed=report.plan.seed,
            data={"path": report.plan.data, **report.data},  # without a finished run only the path is known
            versions=report.versions,
            hardware=report.hardware,
            command=report.command,
        )
    )
    assert section is not None  # a study has a seed
    tables = [_plan(report), _space(report), *section.values["tables"]]
    return PageSection(
        key="provenance", title="Provenance", template=section.template, values={**section.values, "tables": tables}
    )


def _plan(report: StudyReportData) -> Table:
    plan = report.plan
    values = {
        "objectives": ", ".join(
            f"{objective.direction} {metric_name(objective.metric)}" for objective in plan.objectives
        ),
        "trials": plan.trials,
        "searcher": plan.searcher,
        "pruner": plan.pruner,
        "workers": plan.parallel,
        "heads trained together": plan.stack if plan.stack > 1 else None,
        "time limit": duration(plan.time_limit) if plan.time_limit is not None else None,
        "epochs over all trials": plan.epoch_budget,
        "target": general(plan.target) if plan.target is not None else None,
        "stop after trials without improvement": plan.stop_after,
        "executor": redact(plan.on),
        "started from": ", ".join(map(redact, plan.warm_start)) or None,
    }
    return table("Plan", ("item", "value"), "ll", [row for row in values.items() if row[1] is not None])


def _space(report: StudyReportData) -> Table:
    rows = [
        (dimension.name, _domain_text(dimension), _condition(dimension)) for dimension in report.plan.space.dimensions
    ]
    return table("Search space", ("setting", "values", "only where"), "lll", rows)


def _domain_text(dimension: Dimension) -> str:
    domain = dimension.domain
    if isinstance(domain, Choice):
        return "one of " + ", ".join(value_text(value) for value in domain.values)
    text = f"{domain.low:g} to {domain.high:g}"
    if domain.log:
        return f"{text}, logarithmic"
    return f"{text} in steps of {domain.step:g}" if domain.step not in (None, 1) else text


def _condition(dimension: Dimension) -> str:
    alternatives = {name: " or ".join(map(value_text, values)) for name, values in dimension.condition.items()}
    return " and ".join(f"{name} is {values}" for name, values in alternatives.items())
