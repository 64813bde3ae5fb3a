"""TunedStudy: a study as Python sees it: a summary of one screen, the same in a notebook, its trials and its charts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from clearsight.core.errors import BadChoice, EmptyInput
from clearsight.core.finding import flags
from clearsight.core.format import duration, several
from clearsight.core.run import Run
from clearsight.core.study import Study
from clearsight.core.trial import Trial, TrialState
from clearsight.tuning.trial_store import read_trials
from clearsight.workflow.results.figures import check_plotly, standalone
from clearsight.workflow.results.html import facts_html, table_html
from clearsight.workflow.results.run import TrainedRun
from clearsight.workflow.study.plan import space_lines
from clearsight.workflow.study.report import best_run, study_report_data

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from clearsight.reports.kit.section import PageSection
    from clearsight.reports.study.report_data import StudyReportData

_SHOWN = 10  # trials in the table of a notebook


class TunedStudy(Study):
    """A study with its summary, its trials and its charts. It is what is in the folder `path`."""

    @classmethod
    def of(cls, study: Study) -> TunedStudy:
        """Return the same study with the methods of this class."""
        return cls(**vars(study))

    @property
    def trials(self) -> list[Trial]:
        """The trials on disk, those of other workers too."""
        return read_trials(self)

    @property
    def best_run(self) -> TrainedRun | None:
        """The run of the best trial, with its model; None where there is none yet."""
        run: Run | None = best_run(self)
        return TrainedRun.of(run) if run is not None else None

    def plot(self, what: str = "history") -> go.Figure:
        """Return a Plotly figure: "history" of the objective, "importance" of the settings, or "curves" of the trials.

        Raises BadChoice for another name, EmptyInput where too few trials are complete, MissingExtra without plotly.
        """
        return study_figure(self, self.trials, what)

    def __repr__(self) -> str:
        return "\n".join(study_text(self, self.trials))

    def _repr_html_(self) -> str:
        return study_html(self, self.trials)


def study_figure(study: Study, trials: Sequence[Trial], what: str) -> go.Figure:
    """Return a chart of the study's report as a figure of its own."""
    check_plotly()
    from clearsight.reports.study.curves import curves
    from clearsight.reports.study.history import history
    from clearsight.reports.study.importance import importance

    sections: dict[str, Callable[[StudyReportData], PageSection | None]] = {
        "history": history,
        "importance": importance,
        "curves": curves,
    }
    if what not in sections:
        raise BadChoice(f"plot({what!r})", "a study has no such chart", got=what, allowed=sections)
    section = sections[what](study_report_data(study, trials))
    if section is None or not section.panels:
        fix = f'Continue it with more trials: clearsight.resume("{study.path}", trials={2 * study.plan.trials}).'
        raise EmptyInput(f"plot({what!r})", "too few trials of this study are complete", fix=fix)
    panel = section.panels[0]
    return standalone(panel.figure, f"{panel.title} ({study.name})")


def study_text(study: Study, trials: Sequence[Trial]) -> list[str]:
    """Return the summary of a study as lines."""
    return [f"Study {study.name}", *(f"  {name:<9} {value}" for name, value in _facts(study, trials) if value)]


def study_html(study: Study, trials: Sequence[Trial]) -> str:
    """Return the summary of a study as HTML, with its best trials."""
    names = study.plan.space.names
    rows = [
        (str(trial.number), f"{trial.values[0]:.4f}", *(_value(trial.params.get(name)) for name in names))
        for trial in _ranked(study, trials)[:_SHOWN]
    ]
    table = table_html(("trial", study.objective.metric, *names), rows, right=(0, 1)) if rows else ""
    return facts_html(f"Study {study.name}", _facts(study, trials), table)


def _facts(study: Study, trials: Sequence[Trial]) -> list[tuple[str, str]]:
    reason = f" ({study.reason})" if study.reason else ""
    own = [trial for trial in trials if not trial.imported]
    states = [(state.value, sum(trial.state is state for trial in own)) for state in TrialState]
    counted = ", ".join(f"{count} {state}" for state, count in states if count)
    best = study.best
    return [
        ("path", str(study.path)),
        ("status", f"{study.status.value.replace('_', ' ')}{reason} after {duration(study.seconds)}"),
        ("trials", f"{several(study.plan.trials, 'trial')} planned: {counted or 'none has begun'}"),
        ("search", f"{study.plan.searcher} over {'; '.join(space_lines(study.plan.space))}"),
        (
            "best",
            f"trial {best['trial']}: {study.objective.metric} {best['value']:.4f}  {flags(best['params'])}"
            if best
            else "",
        ),
        ("model", str(best.get("run", "")) if best else ""),
    ]


def _ranked(study: Study, trials: Sequence[Trial]) -> list[Trial]:
    complete = [trial for trial in trials if trial.state is TrialState.COMPLETE and trial.values]
    return sorted(complete, key=lambda trial: trial.values[0], reverse=study.objective.direction == "maximize")


def _value(value: object) -> str:
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
