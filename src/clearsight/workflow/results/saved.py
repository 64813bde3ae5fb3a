"""What was saved of a run, for Python: the debugger's readers with charts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clearsight.core.format import several
from clearsight.core.run import Run, RunFolder
from clearsight.debugger.storage.saved_run import SavedRun
from clearsight.debugger.storage.saved_tensor import SavedTensor
from clearsight.workflow.results.figures import By, check_by, run_figure, tensor_figure
from clearsight.workflow.results.html import facts_html

if TYPE_CHECKING:
    import plotly.graph_objects as go

_SHOWN = 20  # names in a summary


class OpenedTensor(SavedTensor):
    """A saved tensor or scalar with its chart."""

    def plot(self, *, mode: str | None = None, statistic: str = "l2") -> go.Figure:
        """Return a Plotly figure over the saved steps: of a scalar its value, of a tensor one of its statistics.

        Raises BadChoice for an unknown mode or statistic, MissingExtra without plotly.
        """
        return tensor_figure(self, mode=mode, statistic=statistic)

    def __repr__(self) -> str:
        points = ", ".join(f"{several(len(self.steps(mode)), 'step')} in {mode}" for mode in self.modes())
        return f"<{type(self).__name__} {self.name}: {self.collection}, {points}>"


class OpenedRun(SavedRun):
    """Saved values of a run, with a summary and the charts of the run. `tensor` returns tensors with a chart."""

    def plot(self, what: str = "loss", *, by: By | None = None, statistic: str = "l2") -> go.Figure:
        """Return a Plotly figure, as `TrainedRun.plot` does; of a Hook's run what it saved, by step.

        Raises BadChoice with the nearest name for anything else, MissingExtra without plotly.
        """
        if RunFolder(self.path).is_run:
            return run_figure(Run.open(self.path), what, by, statistic)
        check_by(by)
        return tensor_figure(self.tensor(what), statistic=statistic, title=f"{what} of {self.path.name}")

    def tensor(self, name: str) -> OpenedTensor:
        """Return what was saved under a name. Raises BadChoice, with the nearest name, for an unknown one."""
        return OpenedTensor(**vars(super().tensor(name)))

    def __repr__(self) -> str:
        return "\n".join([f"Saved run {self.path}", *(f"  {name:<9} {value}" for name, value in self._facts())])

    def _repr_html_(self) -> str:
        return facts_html(f"Saved run {self.path}", self._facts())

    def _facts(self) -> list[tuple[str, str]]:
        names = self.tensor_names()
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        return [
            ("state", "ended" if self.ended else "goes on"),
            ("steps", ", ".join(f"{len(self.steps(mode)):,} in {mode}" for mode in self.modes())),
            ("names", ", ".join(names[:_SHOWN]) + more),
            ("findings", ", ".join(dict.fromkeys(f.rule for f in self.findings() if f.found))),
        ]
