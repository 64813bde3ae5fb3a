"""Views of a study: lines, a live table, or JSON events."""

from __future__ import annotations

import io
import json
import math
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console

from clearsight.core.recipe import Recipe
from clearsight.core.study import Study, StudyPlan, StudyStatus
from clearsight.core.trial import Objective, Trial, TrialState
from clearsight.tuning.space_syntax import parse_space
from clearsight.workflow.display.study_view import (
    StudyEvents,
    StudyLines,
    StudyProgress,
    StudyTable,
    bars,
    end_lines,
    head_line,
    savings_text,
    trial_line,
)
from clearsight.workflow.display.terminal import Terminal

ACCURACY = Objective("accuracy", "maximize")
NOTHING = {
    "features_seconds": 0.0,
    "pruned_trials": 0,
    "pruned_epochs": 0,
    "pruned_seconds": 0.0,
    "answered_trials": 0,
}


def study(**plan: Any) -> Study:
    space = parse_space(["lr=log(1e-4,1e-1)", "batch_size=[16,32]"])
    settings = {"data": "/d", "space": space, "objectives": (ACCURACY,), "trials": 12, **plan}
    return Study(path=Path("studies/photos-1"), name="photos-1", plan=StudyPlan.parse(settings), recipe=Recipe())


def trial(number: int, value: float | None = None, state: TrialState | None = None, **facts: Any) -> Trial:
    state = state or (TrialState.RUNNING if value is None else TrialState.COMPLETE)
    facts = {"params": {"lr": 0.01, "batch_size": 32}, "seconds": 4.0, **facts}
    return Trial(number=number, state=state, values=() if value is None else (value,), **facts)


def progress(*trials: Trial, **plan: Any) -> StudyProgress:
    state = StudyProgress()
    state.on_begin(study(**plan), [])
    for ended in trials:
        state.on_trial(ended)
    return state


# --- lines ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def lines(capsys: pytest.CaptureFixture[str]) -> Callable[..., list[str]]:
    def printed(act: Callable[[StudyLines], None]) -> list[str]:
        act(StudyLines(Terminal(as_json=False)))
        return capsys.readouterr().out.splitlines()

    return printed


def test_the_plan_is_printed_first(lines: Callable[..., list[str]]) -> None:
    assert lines(lambda view: view.on_begin(study(), [])) == [
        "study    studies/photos-1",
        "metric   maximize accuracy, on the validation images",
        "search   tpe, 12 trials",
        "space    lr=log(0.0001,0.1)",
        "space    batch_size=[16,32]",
    ]


def test_earlier_trials_are_counted(lines: Callable[..., list[str]]) -> None:
    earlier = [trial(0, 0.5, source="old"), trial(1, 0.5), trial(2, state=TrialState.PRUNED), trial(3)]
    printed = lines(lambda view: view.on_begin(study(warm_start=("old",)), earlier))
    assert "search   tpe, 12 trials, 2 of them done" in printed
    assert printed[-1] == "earlier  1 trial of old"


def test_a_line_for_each_trial_that_ends_and_none_for_epochs(lines: Callable[..., list[str]]) -> None:
    def act(view: StudyLines) -> None:
        view.on_begin(study(), [])
        view.on_trial(trial(0))
        view.on_epoch(trial(0), 1, 0.5)
        view.on_result(trial(0, 0.5))
        view.on_result(trial(1, 0.4))
        view.on_result(trial(2, state=TrialState.PRUNED, reason="it is behind"))
        view.on_trouble("trial 3: its worker died")
        view.on_result(trial(3, state=TrialState.FAILED, reason="no such thing"))
        view.on_result(trial(4, 0.5, same_as=0, seconds=0.0))
        view.on_result(trial(10, 0.75))
        view.on_end(StudyStatus.COMPLETED, "")

    assert lines(act)[5:] == [
        "trial  0  accuracy 0.5000  --lr 0.01 --batch-size 32  4.0 s  best",
        "trial  1  accuracy 0.4000  --lr 0.01 --batch-size 32  4.0 s",
        "trial  2  pruned  --lr 0.01 --batch-size 32  4.0 s  it is behind",
        "note     trial 3: its worker died",
        "trial  3  failed  --lr 0.01 --batch-size 32  4.0 s  no such thing",
        "trial  4  accuracy 0.5000  --lr 0.01 --batch-size 32  0.0 s  same recipe as trial 0",
        "trial 10  accuracy 0.7500  --lr 0.01 --batch-size 32  4.0 s  best",
    ]


def test_a_line_can_be_made_of_any_trial() -> None:
    assert trial_line(trial(3, 0.5, params={}), progress(trials=5), best=False) == "trial 3  accuracy 0.5000    4.0 s"


# --- the table --------------------------------------------------------------------------------------------------------


def screen(view: StudyTable, width: int) -> list[str]:
    out = io.StringIO()
    Console(file=out, width=width, force_terminal=False).print(view)
    return out.getvalue().splitlines()


@pytest.fixture
def table() -> StudyTable:
    view = StudyTable(Console(file=io.StringIO(), width=80, force_terminal=False))
    view.on_begin(study(), [])
    view.on_result(trial(0, 0.5, curve={1: 0.1, 2: 0.5}))
    view.on_result(trial(1, 0.75, curve={1: 0.5, 2: 0.75}))
    view.on_result(trial(2, state=TrialState.PRUNED, reason="it is behind", curve={1: 0.1}))
    view.on_trial(trial(3))
    view.on_epoch(trial(3), 1, 0.25)
    view.on_trouble("trial 4: its worker was ended by SIGKILL; it is tried again")
    view.close()
    return view


def test_the_table_shows_all_states(table: StudyTable) -> None:
    head, columns, *rows = screen(table, 80)
    assert head.startswith("3 of 12 trials, best accuracy 0.7500 (trial 1), about ")
    assert columns.split() == ["trial", "state", "accuracy", "params"]
    cells = [row.split() for row in rows[:4]]
    assert [row[:3] for row in cells] == [
        ["0", "complete", "0.5000"],
        ["1", "best", "0.7500"],
        ["2", "pruned", "▁"],
        ["3", "running", "0.2500"],
    ]
    assert "▁█" in rows[0]
    assert rows[0].rstrip().endswith("--lr 0.01 --batch-size 32")
    assert rows[4].startswith("note  trial 4: its worker was ended by SIGKILL")


@pytest.mark.parametrize("width", [40, 60, 80, 200])
def test_it_fits_the_terminal(table: StudyTable, width: int) -> None:
    assert max(map(cell_len, screen(table, width))) <= width


def test_many_trials_leave_room_for_the_running_ones(table: StudyTable) -> None:
    for number in range(4, 30):
        table.on_result(trial(number, 0.1))
    for number in range(30, 33):
        table.on_trial(trial(number))
    shown = [line.split()[0] for line in screen(table, 80)[2:10]]
    assert shown == ["26", "27", "28", "29", "3", "30", "31", "32"]


def test_the_last_three_notes_are_shown(table: StudyTable) -> None:
    for number in range(6):
        table.on_trouble(f"trouble {number}")
    assert [line for line in screen(table, 80) if "trouble" in line] == [f"note  trouble {n}" for n in (3, 4, 5)]


def test_the_table_leaves_the_screen(table: StudyTable) -> None:
    table.on_end(StudyStatus.COMPLETED, "")
    table.close()  # a second time does nothing


# --- JSON -------------------------------------------------------------------------------------------------------------


def test_events_are_one_json_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    view = StudyEvents()
    view.on_begin(study(), [trial(0, 0.5)])
    view.on_trial(trial(1, worker=1))
    view.on_epoch(trial(1), 1, 0.5)
    view.on_epoch(trial(1), 2, math.nan)
    view.on_result(trial(1, 0.75))
    view.on_result(trial(2, state=TrialState.PRUNED, reason="it is behind"))
    view.on_trouble("its worker died")
    view.on_end(StudyStatus.INTERRUPTED, "stopped by SIGINT")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert [json.loads(line) for line in captured.err.splitlines()] == [
        {"event": "begin", "study": "studies/photos-1", "trials": 12, "ended": 1},
        {"event": "trial", "trial": 1, "params": {"lr": 0.01, "batch_size": 32}, "worker": 1},
        {"event": "epoch", "trial": 1, "epoch": 1, "value": 0.5},
        {"event": "epoch", "trial": 1, "epoch": 2, "value": None},
        {"event": "result", "trial": 1, "state": "complete", "value": 0.75, "reason": "", "best": 1},
        {"event": "result", "trial": 2, "state": "pruned", "value": None, "reason": "it is behind", "best": 1},
        {"event": "trouble", "text": "its worker died"},
        {"event": "end", "status": "interrupted", "reason": "stopped by SIGINT"},
    ]


# --- small parts ------------------------------------------------------------------------------------------------------


def test_bars_are_as_high_as_the_values() -> None:
    assert bars([]) == bars([math.nan]) == ""
    assert bars([0.5]) == bars([0.5, math.nan]) == "▁"
    assert bars([0.0, 1.0]) == "▁█"
    assert bars([1.0, 0.5, 0.0]) == "█▅▁"
    assert bars([0.3, 0.3, 0.3]) == "▁▁▁"


def test_a_long_curve_keeps_its_first_and_last_value() -> None:
    long = bars(list(range(1000)))
    assert len(long) == 16
    assert (long[0], long[-1]) == ("▁", "█")
    assert list(long) == sorted(long)


def test_the_head_has_what_is_known() -> None:
    assert head_line(progress()) == "0 of 12 trials"
    assert head_line(progress(trial(0), trial(1, 0.5, source="old"))) == "0 of 12 trials"
    assert head_line(progress(trial(0, state=TrialState.FAILED))).startswith("1 of 12 trials, about ")


def test_the_time_left_follows_from_the_trials_of_this_process() -> None:
    state = StudyProgress()
    state.on_begin(study(), [trial(number, 0.5) for number in range(4)])
    assert state.seconds_left is None
    state.on_trial(trial(4, 0.5))
    state.started = time.monotonic() - 10
    assert state.seconds_left == pytest.approx(70, abs=1)  # seven trials are left, and one took ten seconds


def test_savings_are_text_unless_they_are_nothing() -> None:
    assert savings_text(NOTHING) == savings_text({**NOTHING, "features_seconds": 0.5}) == ""
    everything = {**NOTHING, "features_seconds": 90.0, "answered_trials": 2}
    everything |= {"pruned_trials": 3, "pruned_epochs": 21, "pruned_seconds": 12.0}
    assert savings_text(everything) == (
        "1 min 30 s of forward passes (features computed once); 21 epochs of 3 pruned trials, about 12.0 s; "
        "2 trials with the recipe of an earlier one"
    )


def test_the_end_has_status_best_trial_savings_and_next_commands() -> None:
    ended = replace(study(), status=StudyStatus.STOPPED_EARLY, reason="the target was reached", seconds=75.0)
    ended.best = {"trial": 4, "value": 0.93, "params": {"lr": 0.01}}
    assert end_lines(ended, {**NOTHING, "answered_trials": 2}, ["a", "b"], {"loss": 0.5, "accuracy": 0.9}) == [
        "stopped early (the target was reached) after 1 min 15 s",
        "best     trial 4: accuracy 0.9300  --lr 0.01",
        "test     loss 0.5000 accuracy 0.9000",
        "saved    2 trials with the recipe of an earlier one",
        "report   studies/photos-1/report.html",
        "next     a",
        "         b",
    ]


def test_an_interrupted_study_ends_with_the_command_that_continues_it() -> None:
    ended = replace(study(), status=StudyStatus.INTERRUPTED, reason="stopped by SIGINT", seconds=5.0)
    assert end_lines(ended, NOTHING, ["clearsight tune --resume s"], None) == [
        "interrupted (stopped by SIGINT) after 5.0 s",
        "next     clearsight tune --resume s",
    ]
