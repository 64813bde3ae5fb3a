"""JobProgress: what events say of a job, however they are cut."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clearsight_sagemaker.jobs.job_files import JobFiles
from clearsight_sagemaker.jobs.progress import JobProgress

SECONDARY = st.sampled_from(["Starting", "Downloading", "Training", "Interrupted", "Restarting", "Uploading"])
EVENTS = st.lists(
    st.one_of(
        st.fixed_dictionaries({"kind": st.just("status"), "secondary": SECONDARY, "message": st.text(max_size=4)}),
        st.builds(lambda value: {"kind": "metric", "name": "loss", "value": value}, st.floats(0, 9)),
        st.just({"kind": "rule", "configuration": "Overfit", "status": "IssuesFound", "profiler": False}),
        st.just({"kind": "tomorrow", "colour": "blue"}),
    ),
    max_size=12,
)


def written(path: Path, events: list[dict[str, Any]]) -> JobFiles:
    lines = [json.dumps({"time": 100.0 + number, **event}) for number, event in enumerate(events)]
    (path / "events.jsonl").write_text("".join(f"{line}\n" for line in lines))
    return JobFiles(path)


def progress(path: Path, *events: dict[str, Any]) -> JobProgress:
    found = JobProgress()
    found.update(written(path, [*events]))
    return found


def status(secondary: str, message: str = "") -> dict[str, Any]:
    return {"kind": "status", "secondary": secondary, "message": message}


@settings(max_examples=50)
@given(EVENTS, st.data())
def test_reading_in_parts_is_reading_at_once(
    tmp_path_factory: pytest.TempPathFactory, events: list[dict[str, Any]], data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("job")
    folder = written(path, events)
    complete = JobProgress()
    complete.update(folder)
    text = folder.events.read_bytes()
    parts = JobProgress()
    for cut in sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=4))):
        folder.events.write_bytes(text[:cut])
        parts.update(folder)
    folder.events.write_bytes(text)
    parts.update(folder)
    assert parts == complete


def test_a_secondary_status_lasts_until_the_next(tmp_path: Path) -> None:
    found = progress(tmp_path, status("Starting", "a"), status("Starting", "b"), status("Training", "c"))
    assert [(item.status, item.start, item.end, item.message) for item in found.transitions] == [
        ("Starting", 100.0, 102.0, "b"),
        ("Training", 102.0, None, "c"),
    ]
    assert (found.status, found.secondary, found.modified) == ("InProgress", "Training", 102.0)


def test_the_end_counts_when_the_process_has_finished(tmp_path: Path) -> None:
    events = [status("Training"), status("MaxRuntimeExceeded", "too long")]
    found = progress(tmp_path, *events)
    assert (found.status, found.secondary, len(found.transitions)) == ("InProgress", "Training", 1)
    found = progress(tmp_path, *events, {"kind": "finished", "status": "Stopped"})
    assert (found.status, found.secondary) == ("Stopped", "MaxRuntimeExceeded")
    assert found.transitions[-1].message == "too long"


def test_the_first_end_counts(tmp_path: Path) -> None:
    ends = [{"kind": "finished", "status": "Completed"}, {"kind": "failed", "reason": "late"}]
    found = progress(tmp_path, *ends, {"kind": "finished", "status": "Failed"})
    assert (found.status, found.reason, len(found.transitions)) == ("Completed", "", 1)


def test_a_rule_may_speak_after_the_end(tmp_path: Path) -> None:
    rule = {"kind": "rule", "configuration": "Overfit", "status": "IssuesFound", "details": "x", "profiler": True}
    found = progress(tmp_path, {"kind": "finished", "status": "Completed"}, rule)
    assert found.rules[True, "Overfit"].status == "IssuesFound"
    assert found.modified == 101.0


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "0.5", None])
def test_a_metric_without_a_value_is_left_out(tmp_path: Path, value: object) -> None:
    events = [{"kind": "metric", "name": "loss", "value": number} for number in (0.5, value)]
    assert progress(tmp_path, *events).metrics == {"loss": (0.5, 100.0)}


def test_a_damaged_line_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "events.jsonl").write_bytes(b'{"kind": "sta\n[1]\n{"time": 1, "kind": "failed", "reason": "r"}\n')
    found = JobProgress()
    found.update(JobFiles(tmp_path))
    assert found.reason == "r"


def test_an_event_after_a_cut_line_is_whole(tmp_path: Path) -> None:
    (tmp_path / "events.jsonl").write_bytes(b'{"time": 1, "kind": "met')
    folder, found = JobFiles(tmp_path), JobProgress()
    folder.append("finished", status="Failed")
    found.update(folder)
    assert found.status == "Failed"


def test_a_reason_has_at_most_1024_characters(tmp_path: Path) -> None:
    found = progress(tmp_path, {"kind": "failed", "reason": "x" * 5000}, {"kind": "finished", "status": "Failed"})
    assert len(found.reason) == 1024


def test_the_reason_of_a_stop_stays_when_the_process_has_seen_it(tmp_path: Path) -> None:
    folder, progress = JobFiles(tmp_path), JobProgress()
    for message in ("Stopping the training job: its loss is above the median", "Stopping the training job"):
        folder.append("status", secondary="Stopping", message=message)
    progress.update(folder)
    [transition] = progress.transitions
    assert transition.message == "Stopping the training job: its loss is above the median"
