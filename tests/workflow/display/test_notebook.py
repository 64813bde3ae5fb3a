"""Calls from Python show in a notebook and in a terminal, and nothing elsewhere."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from clearsight.core.errors import BadChoice
from clearsight.workflow.display.notebook import NoOutput, NotebookOutput, output_of, show_result
from clearsight.workflow.display.terminal import Terminal


class Display:
    """Stands in for IPython's display: keeps what each area shows, one area per call."""

    def __init__(self) -> None:
        self.areas: list[list[dict[str, str]]] = []

    def __call__(self, bundle: dict[str, str], *, raw: bool, display_id: bool) -> SimpleNamespace:
        assert raw
        assert display_id
        shown = [bundle]
        self.areas.append(shown)
        return SimpleNamespace(update=lambda later, raw: shown.append(later))


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> Display:
    display = Display()
    module: Any = ModuleType("IPython")
    module.get_ipython = lambda: SimpleNamespace(kernel=object())
    module.display = ModuleType("IPython.display")
    module.display.display = display
    monkeypatch.setitem(sys.modules, "IPython", module)
    monkeypatch.setitem(sys.modules, "IPython.display", module.display)
    return display


def test_auto_is_quiet_where_nobody_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout", SimpleNamespace(isatty=lambda: False))
    assert isinstance(output_of("auto"), NoOutput)
    assert type(output_of(True)) is Terminal
    monkeypatch.setattr("sys.stdout", SimpleNamespace(isatty=lambda: True))
    assert type(output_of("auto")) is Terminal
    assert isinstance(output_of(False), NoOutput)


def test_another_choice_is_one_sentence() -> None:
    with pytest.raises(BadChoice, match='Allowed: "auto", True, False'):
        output_of("yes")


def test_no_output_is_none_however_long_it_takes(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clearsight.workflow.display.terminal._SILENCE", 0.0)
    for output in (NoOutput(), Terminal(as_json=False)):
        with output.working():
            output.progress("reading", 1, 9)
            output.progress("reading", 2, 9)
    assert capsys.readouterr().err.count("reading") == 2, "of the terminal alone"


def test_a_notebook_is_updated_in_place(notebook: Display) -> None:
    output = output_of("auto")
    assert isinstance(output, NotebookOutput)
    with output.working():
        output.print("epoch 1/2", "<b>")
        output.progress("training", 3, 10)
        output.print("epoch 2/2")
    (updates,) = notebook.areas
    assert updates[0]["text/plain"] == "epoch 1/2\n<b>"
    assert "&lt;b&gt;" in updates[-1]["text/html"]
    assert any('<progress value="3" max="10">' in update["text/html"] for update in updates)
    assert "<progress" not in updates[-1]["text/html"], "no bar is left"


def test_bars_do_not_flood_the_notebook(notebook: Display) -> None:
    output = NotebookOutput()
    output.print("start")
    for done in range(1000):
        output.progress("training", done, 1000)
    assert len(notebook.areas[0]) < 20


def test_the_bar_of_a_task_that_ended_at_once_goes_away(notebook: Display) -> None:
    output = NotebookOutput()
    with output.working():
        output.progress("reading", 1, 2)
        output.progress("reading", 2, 2)  # too soon after the other to be drawn
    (updates,) = notebook.areas
    assert "<progress" in updates[0]["text/html"]
    assert "<progress" not in updates[-1]["text/html"]


def test_the_bars_of_a_failed_call_go_away(notebook: Display) -> None:
    output = NotebookOutput()
    output.print("start")
    try:
        with output.working():
            output.progress("training", 1, 2)
            raise ValueError("broken")
    except ValueError:
        output.print("failed")
    assert "<progress" not in output.to_html()


def test_a_session_shows_the_result_itself(
    notebook: Display, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    output = NotebookOutput()
    show_result(output, "auto", ["result"])
    assert notebook.areas == []
    show_result(output, True, ["result"])
    assert notebook.areas[0][0]["text/plain"] == "result"
    monkeypatch.delitem(sys.modules, "IPython")
    show_result(Terminal(as_json=False), "auto", ["result"])
    assert capsys.readouterr().out == "result\n"
