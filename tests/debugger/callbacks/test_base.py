"""HookCallback: a callback is made of the base class of whichever trainer is installed."""

from __future__ import annotations

from pathlib import Path

import pytest

from clearsight.core.errors import MissingExtra, missing_extra
from clearsight.debugger.callbacks.base import HookCallback, make_callback
from tests.debugger.networks import hooks_on, network

MISSING = missing_extra("lightning", "lightning", "the callback")


class Watching(HookCallback):
    """A callback of no trainer in particular."""


def test_the_first_base_that_is_installed_counts(tmp_path: Path) -> None:
    callback = make_callback(Watching, ("no_such_trainer:Callback", "logging:Filter"), MISSING, tmp_path, {})
    assert [base.__name__ for base in type(callback).__mro__[:3]] == ["Watching", "Watching", "HookCallback"]
    assert type(callback).__mro__[3].__name__ == "Filter"
    assert callback.hook is None


def test_without_any_base_the_extra_is_missing(tmp_path: Path) -> None:
    with pytest.raises(MissingExtra):
        make_callback(Watching, ("no_such_trainer:Callback",), MISSING, tmp_path, {})


def test_a_package_that_lacks_something_else_is_not_taken_for_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "half_installed.py").write_text("import no_such_dependency")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="no_such_dependency"):
        make_callback(Watching, ("half_installed:Callback",), MISSING, tmp_path, {})


def test_options_precede_what_the_trainer_plans(tmp_path: Path) -> None:
    callback, model = Watching(tmp_path / "run", {"rules": "none", "quiet": True, "steps": 7}), network()
    callback.start({"steps": 12, "epochs": 2}, model)
    callback.start_epoch(2)
    assert callback.hook is not None
    assert (callback.hook.tape.context.steps, callback.hook.tape.context.epochs) == (7, 2)
    assert callback.hook.epoch == 2
    callback.close()
    assert hooks_on(model) == 0
