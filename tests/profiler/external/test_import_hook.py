"""Arrivals: something happens when a module is imported, and imports go on as ever."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from clearsight.profiler.external.import_hook import ImportHook


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A package with a module `inner` that nobody has imported yet."""
    folder = tmp_path / "arriving"
    folder.mkdir()
    (folder / "__init__.py").write_text("VALUE = 1\n")
    (folder / "inner.py").write_text("VALUE = 2\n")
    (folder / "broken.py").write_text("raise ValueError('broken')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    before = list(sys.meta_path)
    yield "arriving"
    assert sys.meta_path == before
    for name in [name for name in sys.modules if name.partition(".")[0] == "arriving"]:
        del sys.modules[name]


def test_a_module_that_is_there_is_met_at_once(package: str) -> None:
    met: list[str] = []
    ImportHook().when_imported("sys", lambda module: met.append(module.__name__))
    assert met == ["sys"]


def test_a_module_that_comes_is_met_when_it_was_run(package: str) -> None:
    arrivals, met = ImportHook(), list[int]()
    arrivals.when_imported("arriving.inner", lambda module: met.append(module.VALUE))
    arrivals.when_imported("arriving", lambda module: met.append(module.VALUE))
    importlib.import_module("arriving")
    assert met == [1]
    importlib.import_module("arriving.inner")
    assert met == [1, 2]
    assert "exec_module" not in vars(sys.modules["arriving.inner"].__spec__.loader)  # type: ignore[union-attr]


def test_all_who_wait_for_a_module_are_told_once(package: str) -> None:
    arrivals, met = ImportHook(), list[str]()
    arrivals.when_imported("arriving", lambda _: met.append("one"))
    arrivals.when_imported("arriving", lambda _: met.append("two"))
    importlib.reload(importlib.import_module("arriving"))
    assert met == ["one", "two"]


def test_a_module_that_fails_fails_as_ever(package: str) -> None:
    arrivals, met = ImportHook(), list[str]()
    arrivals.when_imported("arriving.broken", lambda _: met.append("met"))
    with pytest.raises(ValueError, match="broken"):
        importlib.import_module("arriving.broken")
    assert met == []
    arrivals.forget()


def test_what_is_not_there_is_not_there(package: str) -> None:
    arrivals = ImportHook()
    arrivals.when_imported("arriving.nowhere", lambda _: None)
    with pytest.raises(ModuleNotFoundError, match="nowhere"):
        importlib.import_module("arriving.nowhere")
    arrivals.forget()


def test_who_has_forgotten_is_not_told(package: str) -> None:
    arrivals, met = ImportHook(), list[str]()
    arrivals.when_imported("arriving", lambda _: met.append("met"))
    arrivals.forget()
    importlib.import_module("arriving")
    assert met == []
