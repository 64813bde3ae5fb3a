"""Calendar: what is to be taken when."""

from __future__ import annotations

from clearsight.core.tensors import Mode, Moment, SaveSchedule
from clearsight.debugger.capture.save_plan import parse_save
from clearsight.debugger.capture.schedule import CaptureSchedule


def steps(calendar: CaptureSchedule, mode: Mode = "train", epochs: int = 2, per_epoch: int = 6) -> list[int]:
    moments = [Moment(mode, i + 1, i // per_epoch + 1, i + 1) for i in range(epochs * per_epoch)]
    return [at.step for at in moments if calendar.take(at) is not None]


def test_statistics_follow_the_schedule_of_their_mode() -> None:
    calendar = CaptureSchedule({"train": SaveSchedule(every=5)}, (), None)
    assert steps(calendar) == [1, 5, 10]
    assert steps(calendar, "eval") == []


def test_wishes_have_schedules_of_their_own() -> None:
    assert steps(CaptureSchedule({}, parse_save(["gradients@steps=2,7"]), None)) == [2, 7]
    assert steps(CaptureSchedule({"train": SaveSchedule(every=6)}, parse_save(["gradients"]), None)) == [1, 6, 12]


def test_once_per_epoch_is_at_its_first_step() -> None:
    assert steps(CaptureSchedule({}, parse_save(["weights@epoch"]), None)) == [1, 7]


def test_a_wish_alone_makes_no_statistics() -> None:
    take = CaptureSchedule({}, parse_save(["gradients@steps=1"]), None).take(Moment("train", 1, 1, 1))
    assert take is not None
    assert not take.statistics
    assert take.wants("gradients")
    assert not take.wants("activations")
