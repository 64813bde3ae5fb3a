"""Patches: replaced for a while, and put back as they were."""

from __future__ import annotations

from typing import Any

import pytest

from clearsight.profiler.external.patches import Patches


class Parent:
    def greet(self) -> str:
        return "hello"


class Child(Parent):
    @staticmethod
    def plain() -> int:
        return 1


def louder(greet: Any) -> Any:
    return lambda self: greet(self).upper()


def test_a_replaced_method_is_put_back_as_the_very_object_that_it_was() -> None:
    patches, before = Patches(), vars(Parent)["greet"]
    patches.replace(Parent, "greet", louder)
    assert Child().greet() == "HELLO"
    patches.undo()
    assert vars(Parent)["greet"] is before


def test_what_was_inherited_is_inherited_again() -> None:
    patches = Patches()
    patches.replace(Child, "greet", louder)
    patches.undo()
    assert "greet" not in vars(Child)


def test_a_static_method_stays_one() -> None:
    patches, before = Patches(), vars(Child)["plain"]
    patches.replace(Child, "plain", lambda plain: lambda: plain() + 1)
    patches.undo()
    assert vars(Child)["plain"] is before
    assert Child().plain() == 1


def test_what_somebody_else_replaced_since_then_is_theirs() -> None:
    patches, before = Patches(), vars(Parent)["greet"]
    patches.replace(Parent, "greet", louder)
    theirs = lambda self: "theirs"  # noqa: E731
    Parent.greet = theirs  # type: ignore[method-assign]
    try:
        patches.undo()
        assert vars(Parent)["greet"] is theirs
    finally:
        Parent.greet = before  # type: ignore[method-assign]


def test_other_things_are_undone_once() -> None:
    patches, done = Patches(), list[str]()
    patches.when_undone(lambda: done.append("hook"))
    patches.undo()
    patches.undo()
    assert done == ["hook"]


def test_what_is_not_there_cannot_be_replaced() -> None:
    with pytest.raises(AttributeError):
        Patches().replace(Parent, "shout", louder)
