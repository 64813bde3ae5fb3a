"""ImportHook: actions run when a module is imported, and imports work as without it."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from clearsight.profiler.external.import_hook import ImportHook


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Write a package with a module `inner`, neither of them imported yet."""
    folder = tmp_path / "awaited"
    folder.mkdir()
    (folder / "__init__.py").write_text("VALUE = 1\n")
    (folder / "inner.py").write_text("VALUE = 2\n")
    (folder / "broken.py").write_text("raise ValueError('broken')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    before = list(sys.meta_path)
    yield "awaited"
    assert sys.meta_path == before
    for name in [name for name in sys.modules if name.partition(".")[0] == "awaited"]:
        del sys.modules[name]


def test_the_action_of_an_imported_module_runs_at_once(package: str) -> None:
    calls: list[str] = []
    ImportHook().when_imported("sys", lambda module: calls.append(module.__name__))
    assert calls == ["sys"]


def test_the_action_runs_after_the_modules_own_code(package: str) -> None:
    import_hook, calls = ImportHook(), list[int]()
    import_hook.when_imported("awaited.inner", lambda module: calls.append(module.VALUE))
    import_hook.when_imported("awaited", lambda module: calls.append(module.VALUE))
    importlib.import_module("awaited")
    assert calls == [1]
    importlib.import_module("awaited.inner")
    assert calls == [1, 2]
    assert "exec_module" not in vars(sys.modules["awaited.inner"].__spec__.loader)  # type: ignore[union-attr]


def test_every_action_of_a_module_runs_once(package: str) -> None:
    import_hook, calls = ImportHook(), list[str]()
    import_hook.when_imported("awaited", lambda _: calls.append("first"))
    import_hook.when_imported("awaited", lambda _: calls.append("second"))
    importlib.reload(importlib.import_module("awaited"))
    assert calls == ["first", "second"]


def test_an_import_that_fails_runs_no_action(package: str) -> None:
    import_hook, calls = ImportHook(), list[str]()
    import_hook.when_imported("awaited.broken", lambda _: calls.append("calls"))
    with pytest.raises(ValueError, match="broken"):
        importlib.import_module("awaited.broken")
    assert calls == []
    import_hook.cancel()


def test_a_missing_module_raises_as_without_the_hook(package: str) -> None:
    import_hook = ImportHook()
    import_hook.when_imported("awaited.nowhere", lambda _: None)
    with pytest.raises(ModuleNotFoundError, match="nowhere"):
        importlib.import_module("awaited.nowhere")
    import_hook.cancel()


def test_a_cancelled_hook_runs_no_action(package: str) -> None:
    import_hook, calls = ImportHook(), list[str]()
    import_hook.when_imported("awaited", lambda _: calls.append("calls"))
    import_hook.cancel()
    importlib.import_module("awaited")
    assert calls == []
