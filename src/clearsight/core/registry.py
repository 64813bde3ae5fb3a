"""Registry: names of interchangeable members, listed without importing them; Former: earlier names of attributes.

A member is one line, `name -> "module:attribute"`; other distributions add theirs through an entry point group.
Listing imports nothing, so `--help` stays fast; loading imports one module.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import inspect
import sys
from collections.abc import Iterator, Mapping
from operator import attrgetter
from types import ModuleType
from typing import Any, Generic, TypeVar, cast

from clearsight.core.errors import BadChoice

T = TypeVar("T")


class Registry(Generic[T]):
    """A family of interchangeable members, looked up by name.

    noun: of a member, for errors ("reader", "model").  group: the entry point group for members of other distributions.
    """

    def __init__(self, noun: str, table: Mapping[str, str], *, group: str) -> None:
        self.noun, self.group, self._table = noun, group, dict(table)
        self._groups = [group]

    def __or__(self, other: Registry[T]) -> Registry[T]:
        """Return the registry of both families' members; this one's come first, and win where a name is in both."""
        # Twice this table: its first place gives the order, its last place the targets.
        union = Registry[T](self.noun, {**self._table, **other._table, **self._table}, group=self.group)
        union._groups = [*self._groups, *other._groups]
        return union

    def names(self) -> list[str]:
        """Return all names, built-in ones first, in the order of their declaration."""
        # A built-in name wins, so that installing a package cannot change what a recipe means.
        return [*self._table, *(name for name in self._entry_points() if name not in self._table)]

    def load(self, name: str) -> T:
        """Return the member called `name`; raises BadChoice with the nearest name if there is none."""
        # Entry points are read from disk: last.
        target = self._table.get(name) or self._entry_points().get(name)
        if target is None:
            raise BadChoice(f"{self.noun} {name!r}", "no such name", got=name, allowed=self.names())
        return cast(T, load_target(target))

    def __iter__(self) -> Iterator[tuple[str, T]]:
        """Yield the name and the member of each, imported one at a time."""
        for name in self.names():
            yield name, self.load(name)

    def _entry_points(self) -> dict[str, str]:
        points = [point for group in self._groups for point in importlib.metadata.entry_points(group=group)]
        return {point.name: point.value for point in points}


def load_target(target: str) -> Any:
    """Return what "module:attribute" names, or the module where no attribute follows. Imports the module."""
    name, _, attribute = target.partition(":")
    module = importlib.import_module(name)
    return getattr(module, attribute) if attribute else module


class _CallableModule(ModuleType):
    """Module that is a function too."""

    _target: str

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return load_target(self._target)(*args, **kwargs)

    @property
    def __signature__(self) -> inspect.Signature:
        return inspect.signature(load_target(self._target))


def make_callable(module: str, target: str) -> None:
    """Make an imported module callable: calls go to the function that `target` ("module:attribute") names.

    For a public function with the name of a package: importing the package hides the function otherwise.
    """
    sys.modules[module].__class__ = _CallableModule
    sys.modules[module]._target = target  # type: ignore[attr-defined]


class Former(Generic[T]):
    """Former name of an attribute or a method, for code of users. Example: `facts = Former[RunContext]("context")`."""

    def __init__(self, name: str) -> None:
        self._value = attrgetter(name)

    def __get__(self, owner: object, kind: type) -> T:
        return cast(T, self._value(owner))
