"""Name tables: what exists, without importing any of it.

A member is one line, `name -> "module:attribute"`; other distributions add theirs through an entry point group.
Listing imports nothing, so `--help` stays fast; loading imports exactly one module.
"""

from __future__ import annotations

import importlib
import importlib.metadata
from collections.abc import Iterator, Mapping
from typing import Generic, TypeVar, cast

from clearsight.core.errors import BadChoice

T = TypeVar("T")


class Registry(Generic[T]):
    """A family of interchangeable members, looked up by name.

    noun: how errors call a member ("reader", "model").  group: the entry point group for members from elsewhere.
    """

    def __init__(self, noun: str, table: Mapping[str, str], *, group: str) -> None:
        self.noun, self.group, self._table = noun, group, dict(table)
        self._groups = [group]

    def __or__(self, other: Registry[T]) -> Registry[T]:
        """The members of both families, those of this one first."""
        further = {name: target for name, target in other._table.items() if name not in self._table}
        both = Registry[T](self.noun, {**self._table, **further}, group=self.group)
        both._groups = [*self._groups, *other._groups]
        return both

    def names(self) -> list[str]:
        """Every name, built-in ones first, in the order in which they were declared."""
        return [*self._table, *(name for name in self._foreign() if name not in self._table)]

    def load(self, name: str) -> T:
        """The member called `name`; raises BadChoice with the nearest name when there is none."""
        target = self._table.get(name) or self._foreign().get(name)
        if target is None:
            raise BadChoice(f"{self.noun} {name!r}", "there is none of that name", got=name, allowed=self.names())
        module, _, attribute = target.partition(":")
        return cast(T, getattr(importlib.import_module(module), attribute))

    def __iter__(self) -> Iterator[tuple[str, T]]:
        """Name and member of each, imported one at a time."""
        for name in self.names():
            yield name, self.load(name)

    def _foreign(self) -> dict[str, str]:
        found = [point for group in self._groups for point in importlib.metadata.entry_points(group=group)]
        return {point.name: point.value for point in found}
