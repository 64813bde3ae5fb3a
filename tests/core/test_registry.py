"""A registry lists names without importing, and names the nearest one after a typo."""

import sys

import pytest

from clearsight.core.errors import BadChoice
from clearsight.core.registry import Registry

TABLE = {"csv": "csv:reader", "decimal": "decimal:Decimal", "ghost": "no_such_module_at_all:x"}


def registry() -> Registry[object]:
    return Registry("thing", TABLE, group="clearsight.tests.none")


def test_lists_names_in_their_order_and_imports_nothing() -> None:
    assert registry().names() == ["csv", "decimal", "ghost"]
    assert "no_such_module_at_all" not in sys.modules


def test_loads_the_attribute_of_the_module() -> None:
    from decimal import Decimal

    assert registry().load("decimal") is Decimal


def test_unknown_name_gets_the_nearest() -> None:
    with pytest.raises(BadChoice, match=r"thing 'decimol': no such name.*Did you mean decimal\?"):
        registry().load("decimol")


def test_members_of_other_distributions_are_found_by_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    from importlib.metadata import EntryPoint

    entry = EntryPoint(name="mine", value="decimal:Decimal", group="clearsight.tests.none")
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: [entry] if group == entry.group else [])
    assert registry().names()[-1] == "mine"
    assert registry().load("mine").__name__ == "Decimal"  # type: ignore[attr-defined]
