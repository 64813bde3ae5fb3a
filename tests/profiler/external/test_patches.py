"""Patches: attributes are replaced for a while and put back as they were."""

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


def test_a_replaced_method_is_the_very_same_object_afterwards() -> None:
    patches, original = Patches(), vars(Parent)["greet"]
    patches.replace(Parent, "greet", louder)
    assert Child().greet() == "HELLO"
    patches.undo()
    assert vars(Parent)["greet"] is original


def test_an_inherited_method_is_inherited_again() -> None:
    patches = Patches()
    patches.replace(Child, "greet", louder)
    patches.undo()
    assert "greet" not in vars(Child)


def test_a_static_method_stays_static() -> None:
    patches, original = Patches(), vars(Child)["plain"]
    patches.replace(Child, "plain", lambda plain: lambda: plain() + 1)
    patches.undo()
    assert vars(Child)["plain"] is original
    assert Child().plain() == 1


def test_an_attribute_that_others_replaced_later_stays() -> None:
    patches, original = Patches(), vars(Parent)["greet"]
    patches.replace(Parent, "greet", louder)
    other = lambda self: "other"  # noqa: E731
    Parent.greet = other  # type: ignore[method-assign]
    try:
        patches.undo()
        assert vars(Parent)["greet"] is other
    finally:
        Parent.greet = original  # type: ignore[method-assign]


def test_other_actions_run_once() -> None:
    patches, done = Patches(), list[str]()
    patches.when_undone(lambda: done.append("hook"))
    patches.undo()
    patches.undo()
    assert done == ["hook"]


def test_a_missing_attribute_raises() -> None:
    with pytest.raises(AttributeError):
        Patches().replace(Parent, "shout", louder)
