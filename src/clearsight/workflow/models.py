"""models: names of the zoo that match a pattern, with size, input, licence, weights on disk and speed here."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from clearsight.core.errors import BadChoice
from clearsight.core.format import count
from clearsight.core.machine import machine_name
from clearsight.models.catalogue import Catalogue, ModelFacts, matching, weights_at_hand
from clearsight.models.weights_file import on_disk
from clearsight.workflow.paths import Paths
from clearsight.workflow.prepare.datasets import Progress, quiet
from clearsight.workflow.results.html import facts_html, table_html

_HEAD = ("model", "parameters", "input", "licence", "weights", "train", "head only")
_RIGHT = (1, 2, 5, 6)  # columns of numbers


@dataclass(frozen=True, kw_only=True)
class ListedModel:
    """A model of the zoo. Fields of facts and speed are None where they are not known.

    parameters: with the classifier of the pretrained weights.  input_size: pixels.  weights: the file or folder on
    this disk, "" if they would be downloaded.  train, forward: images/s when the whole network trains, and when only
    the head does; measured: False if they are estimated from other models.
    """

    name: str
    parameters: int | None = None
    input_size: int | None = None
    licence: str = ""
    pretrained: bool | None = None
    weights: str = ""
    train: float | None = None
    forward: float | None = None
    measured: bool = False


@dataclass(frozen=True, kw_only=True)
class ModelList(Sequence[ListedModel]):
    """Models that match a pattern. more: names that match too and are not listed."""

    pattern: str
    rows: tuple[ListedModel, ...]
    more: int = 0

    def __getitem__(self, index: Any) -> Any:
        return self.rows[index]

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[ListedModel]:
        return iter(self.rows)

    def __repr__(self) -> str:
        return "\n".join(self.lines())

    def _repr_html_(self) -> str:
        table = table_html(_HEAD, [_cells(row) for row in self.rows], right=_RIGHT)
        return facts_html(f"Models {self.pattern}", [("", note) for note in self._notes()], table)

    def lines(self) -> list[str]:
        """Return the table for people."""
        rows = [_HEAD, *(_cells(row) for row in self.rows)]
        widths = [max(len(row[column]) for row in rows) for column in range(len(_HEAD))]
        lines = [
            "  ".join(
                cell.rjust(width) if column in _RIGHT else cell.ljust(width)
                for column, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in rows
        ]
        return [*lines, "", *self._notes()]

    def _notes(self) -> list[str]:
        notes = [f"and {self.more:,} more: --limit N or --all lists them, a pattern such as 'resnet*' narrows them"]
        if any(row.train is not None and not row.measured for row in self.rows):
            notes.append("speed in images/s; ~ marks an estimate from other models on this machine, --measure measures")
        elif self.rows:
            notes.append("speed in images/s, measured on this machine")
        return notes if self.more else notes[1:]

    def to_json(self) -> dict[str, Any]:
        """Return the shape of `clearsight models --json`."""
        return {"pattern": self.pattern, "models": [asdict(row) for row in self.rows], "more": self.more}


def models(
    pattern: str = "*",
    *,
    limit: int | None = 20,
    measure: bool = False,
    device: str = "cpu",
    paths: Paths | None = None,
    progress: Progress = quiet,
) -> ModelList:
    """Return the models whose names match `pattern` ("resnet*", "timm/vit_*", or a part of a name).

    limit: models that are looked at; None for all.  measure: time a few steps of each on this machine.
    paths: folders of weights and of the cache, which keeps facts and measurements.
    Raises BadChoice where no name matches.
    """
    paths = paths or Paths.of({})  # the user's own
    catalogue = Catalogue(paths.cache, "cuda" if device.startswith("cuda") else "cpu", machine_name())
    names = catalogue.names()
    here = on_disk(names, paths.weights)
    # What was typed, then what can be trained at once.
    found = sorted(matching(names, pattern), key=lambda name: (name != pattern, name not in here, _natural(name)))
    if not found:
        raise BadChoice(f"models {pattern}", "no model has such a name", got=pattern, allowed=names)
    chosen = found if limit is None else found[:limit]
    rows = []
    for done, name in enumerate(chosen, 1):
        rows.append(_row(catalogue, name, paths, measure))
        progress("models", done, len(chosen))
    return ModelList(pattern=pattern, rows=tuple(rows), more=len(found) - len(chosen))


def _row(catalogue: Catalogue, name: str, paths: Paths, measure: bool) -> ListedModel:
    facts: ModelFacts | None = catalogue.facts([name])[0]
    if facts is None:
        return ListedModel(name=name)
    speeds = catalogue.measure(facts) if measure else catalogue.measured(name)
    measured = speeds is not None
    speeds = speeds or catalogue.estimate(facts) or {}
    return ListedModel(
        name=name,
        parameters=facts.parameters,
        input_size=facts.input_size,
        licence=facts.licence,
        pretrained=bool(facts.download),
        weights=weights_at_hand(facts, paths.weights, paths.torch_hub),
        train=speeds.get("train"),
        forward=speeds.get("forward"),
        measured=measured,
    )


def _cells(row: ListedModel) -> tuple[str, ...]:
    about = "" if row.measured else "~"
    speeds = (
        "" if value is None else f"{about}{value:.2g}" if value < 10 else f"{about}{value:,.0f}"
        for value in (row.train, row.forward)
    )
    at_hand = "on disk" if row.weights else {True: "to download", False: "none", None: ""}[row.pretrained]
    size = "" if row.input_size is None else f"{row.input_size} px"
    parameters = "" if row.parameters is None else count(row.parameters)
    return (row.name, parameters, size, row.licence or "not stated", at_hand, *speeds)


def _natural(name: str) -> tuple[bool, list[tuple[bool, int, str]]]:
    """Return a key that sorts resnet50 before resnet101, and names without a prefix first."""
    parts = re.split(r"(\d+)", name)
    return "/" in name, [(part.isdigit(), int(part) if part.isdigit() else 0, part) for part in parts]
