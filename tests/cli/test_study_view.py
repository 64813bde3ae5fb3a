"""What a person, or a program, sees of a study: lines, a table, or JSON."""

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

from clearsight.cli.study_view import (
    StudyEvents,
    StudyLines,
    StudyProgress,
    StudyTable,
    bars,
    end_lines,
    head_line,
    saved_words,
    trial_line,
)
from clearsight.cli.terminal import Terminal
from clearsight.core.recipe import Recipe
from clearsight.core.study import Study, StudyPlan, StudyStatus
from clearsight.core.trial import Objective, Trial, TrialState
from clearsight.tuning.space_syntax import parse_space

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
    told = {"data": "/d", "space": space, "objectives": (ACCURACY,), "trials": 12, **plan}
    return Study(path=Path("studies/photos-1"), name="photos-1", plan=StudyPlan(**told), recipe=Recipe())


def trial(number: int, value: float | None = None, state: TrialState | None = None, **facts: Any) -> Trial:
    came_to = state or (TrialState.RUNNING if value is None else TrialState.COMPLETE)
    told = {"params": {"lr": 0.01, "batch_size": 32}, "seconds": 4.0, **facts}
    return Trial(number=number, state=came_to, values=() if value is None else (value,), **told)


def told(*trials: Trial, **plan: Any) -> StudyProgress:
    found = StudyProgress()
    found.begin(study(**plan), [])
    for one in trials:
        found.take(one)
    return found


# --- lines ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def lines(capsys: pytest.CaptureFixture[str]) -> Callable[..., list[str]]:
    def said(act: Callable[[StudyLines], None]) -> list[str]:
        act(StudyLines(Terminal(as_json=False)))
        return capsys.readouterr().out.splitlines()

    return said


def test_what_it_is_about_to_do(lines: Callable[..., list[str]]) -> None:
    assert lines(lambda view: view.on_begin(study(), [])) == [
        "study    studies/photos-1",
        "aim      maximize accuracy, by the validation images",
        "search   tpe, 12 trials",
        "space    lr=log(0.0001,0.1)",
        "space    batch_size=[16,32]",
    ]


def test_what_was_there_before(lines: Callable[..., list[str]]) -> None:
    before = [trial(0, 0.5, source="old"), trial(1, 0.5), trial(2, state=TrialState.PRUNED), trial(3)]
    said = lines(lambda view: view.on_begin(study(warm_start=("old",)), before))
    assert "search   tpe, 12 trials, 2 of them done" in said
    assert said[-1] == "earlier  1 trials of old"


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
        "trial  4  accuracy 0.5000  --lr 0.01 --batch-size 32  0.0 s  as trial 0",
        "trial 10  accuracy 0.7500  --lr 0.01 --batch-size 32  4.0 s  best",
    ]


def test_a_line_can_be_made_of_any_trial() -> None:
    assert trial_line(trial(3, 0.5, params={}), told(trials=5), best=False) == "trial 3  accuracy 0.5000    4.0 s"


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


def test_the_table_shows_where_it_is(table: StudyTable) -> None:
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


def test_many_trials_leave_room_for_those_under_way(table: StudyTable) -> None:
    for number in range(4, 30):
        table.on_result(trial(number, 0.1))
    for number in range(30, 33):
        table.on_trial(trial(number))
    shown = [line.split()[0] for line in screen(table, 80)[2:10]]
    assert shown == ["26", "27", "28", "29", "3", "30", "31", "32"]


def test_the_last_notes_are_enough(table: StudyTable) -> None:
    for number in range(6):
        table.on_trouble(f"trouble {number}")
    assert [line for line in screen(table, 80) if "trouble" in line] == [f"note  trouble {n}" for n in (3, 4, 5)]


def test_the_table_leaves_the_screen(table: StudyTable) -> None:
    table.on_end(StudyStatus.COMPLETED, "")
    table.close()  # however often


# --- JSON -------------------------------------------------------------------------------------------------------------


def test_a_program_reads_one_event_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    view = StudyEvents()
    view.on_begin(study(), [trial(0, 0.5)])
    view.on_trial(trial(1, worker=1))
    view.on_epoch(trial(1), 1, 0.5)
    view.on_epoch(trial(1), 2, math.nan)
    view.on_result(trial(1, 0.75))
    view.on_result(trial(2, state=TrialState.PRUNED, reason="it is behind"))
    view.on_trouble("its worker died")
    view.on_end(StudyStatus.INTERRUPTED, "stopped by SIGINT")
    said = capsys.readouterr()
    assert said.out == ""
    assert [json.loads(line) for line in said.err.splitlines()] == [
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


def test_the_head_says_no_more_than_is_known() -> None:
    assert head_line(told()) == "0 of 12 trials"
    assert head_line(told(trial(0), trial(1, 0.5, source="old"))) == "0 of 12 trials"
    assert head_line(told(trial(0, state=TrialState.FAILED))).startswith("1 of 12 trials, about ")


def test_the_time_left_follows_from_the_trials_of_this_process() -> None:
    before = [trial(number, 0.5) for number in range(4)]
    found = StudyProgress()
    found.begin(study(), before)
    assert found.seconds_left is None
    found.take(trial(4, 0.5))
    found.began = time.monotonic() - 10
    assert found.seconds_left == pytest.approx(70, abs=1)  # seven are left, and one took ten seconds


def test_what_was_saved_is_said_where_it_is_something() -> None:
    assert saved_words(NOTHING) == saved_words({**NOTHING, "features_seconds": 0.5}) == ""
    everything = {**NOTHING, "features_seconds": 90.0, "answered_trials": 2}
    everything |= {"pruned_trials": 3, "pruned_epochs": 21, "pruned_seconds": 12.0}
    assert saved_words(everything) == (
        "1 min 30 s of forward passes (features computed once); 21 epochs of 3 pruned trials, about 12.0 s; "
        "2 trials answered from the same recipe"
    )


def test_how_it_ended_what_was_found_and_what_to_type_next() -> None:
    ended = replace(study(), status=StudyStatus.STOPPED_EARLY, reason="the target was reached", seconds=75.0)
    ended.best = {"trial": 4, "value": 0.93, "params": {"lr": 0.01}}
    assert end_lines(ended, {**NOTHING, "answered_trials": 2}, ["a", "b"], {"loss": 0.5, "accuracy": 0.9}) == [
        "stopped early (the target was reached) after 1 min 15 s",
        "best     trial 4: accuracy 0.9300  --lr 0.01",
        "test     loss 0.5000 accuracy 0.9000",
        "saved    2 trials answered from the same recipe",
        "report   studies/photos-1/report.html",
        "next     a",
        "         b",
    ]


def test_an_interrupted_study_points_to_its_going_on() -> None:
    ended = replace(study(), status=StudyStatus.INTERRUPTED, reason="stopped by SIGINT", seconds=5.0)
    assert end_lines(ended, NOTHING, ["clearsight tune --resume s"], None) == [
        "interrupted (stopped by SIGINT) after 5.0 s",
        "next     clearsight tune --resume s",
    ]
