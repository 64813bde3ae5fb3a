"""The section of provenance: what was asked of the study, the space, and all it takes to search the same again."""

from __future__ import annotations

from clearsight.core.space import Choice, Dimension
from clearsight.reports.kit.format import duration, general
from clearsight.reports.kit.section import PageSection, Table, table
from clearsight.reports.run.provenance import provenance as run_provenance
from clearsight.reports.run.report_data import RunReportData
from clearsight.reports.study.field_axis import said
from clearsight.reports.study.metric import named
from clearsight.reports.study.report_data import StudyReportData


def provenance(facts: StudyReportData) -> PageSection:
    """As for a run, with the plan and the space before."""
    same = run_provenance(
        RunReportData(
            name=facts.name,
            status=facts.status,
            recipe=facts.recipe,
            seed=facts.plan.seed,
            data={"path": facts.plan.data, **facts.data},
            versions=facts.versions,
            hardware=facts.hardware,
            command=facts.command,
        )
    )
    assert same is not None  # a study has a seed
    tables = [_plan(facts), _space(facts), *same.values["tables"]]
    return PageSection(
        key="provenance", title="Provenance", template="provenance.html", values={**same.values, "tables": tables}
    )


def _plan(facts: StudyReportData) -> Table:
    plan = facts.plan
    asked = {
        "objectives": ", ".join(f"{one.direction} {named(one.metric)}" for one in plan.objectives),
        "trials": plan.trials,
        "searcher": plan.searcher,
        "pruner": plan.pruner,
        "workers": plan.parallel,
        "heads trained together": plan.stack if plan.stack > 1 else None,
        "time limit": duration(plan.time_limit) if plan.time_limit is not None else None,
        "epochs over all trials": plan.epoch_budget,
        "target": general(plan.target) if plan.target is not None else None,
        "stop after so many without gain": plan.stop_after,
        "on": plan.on,
        "began from": ", ".join(plan.warm_start) or None,
    }
    return table("What was asked", ("what", "value"), "ll", [row for row in asked.items() if row[1] is not None])


def _space(facts: StudyReportData) -> Table:
    rows = [(one.name, _range(one), _condition(one)) for one in facts.plan.space.dimensions]
    return table("The space", ("setting", "values", "only where"), "lll", rows)


def _range(dimension: Dimension) -> str:
    domain = dimension.domain
    if isinstance(domain, Choice):
        return "one of " + ", ".join(said(value) for value in domain.values)
    told = f"{domain.low:g} to {domain.high:g}"
    if domain.log:
        return f"{told}, by orders of magnitude"
    return f"{told} in steps of {domain.step:g}" if domain.step not in (None, 1) else told


def _condition(dimension: Dimension) -> str:
    return " and ".join(
        f"{name} is {' or '.join(said(value) for value in values)}" for name, values in dimension.when.items()
    )
