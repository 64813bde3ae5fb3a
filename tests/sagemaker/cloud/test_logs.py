"""CloudWatch Logs over the log files of jobs: pages in both directions, times, patterns, deletion."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clearsight_sagemaker.cloud import log_lines
from clearsight_sagemaker.cloud.log_lines import lines_before, lines_from, offset_at
from clearsight_sagemaker.state.resource_table import Resource
from clearsight_sagemaker.state.service_state import TRAINING_JOB
from tests.sagemaker.local_service import LocalService, job_request, local_service

GROUP = "/aws/sagemaker/TrainingJobs"
LINES = st.lists(
    st.tuples(st.integers(0, 5), st.text(st.characters(codec="utf-8", exclude_characters="\n"), max_size=4)),
    max_size=30,
)


def add_job(service: LocalService, name: str, lines: list[tuple[int, str]], created: float = 1000.0) -> str:
    """Add a job that has ended with a log, and return the name of its stream."""
    document = {"request": job_request(name), "arn": "", "state": {"secondary": "Completed"}}
    row = Resource(kind=TRAINING_JOB, name=name, status="Completed", document=document, created=created)
    service.state.table.add(row)
    folder = service.state.training_jobs.folder(name)
    folder.path.mkdir(parents=True)
    folder.log.write_text("".join(f"{moment} {text}\n" for moment, text in lines), encoding="utf-8", newline="")
    return f"{name}/algo-1-{int(created)}"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalService]:
    with local_service(tmp_path_factory.mktemp("home")) as service:
        add_job(service, "dogs", [(1000 + number, f"dogs {number}") for number in range(10)])
        add_job(service, "cats", [(1000 + 2 * number, f"cats loss={number}") for number in range(10)], created=2000.0)
        yield service


def events(service: LocalService, stream: str, **parameters: Any) -> dict[str, Any]:
    return service.call("GetLogEvents", "logs", logGroupName=GROUP, logStreamName=stream, **parameters)


def messages(result: dict[str, Any]) -> list[str]:
    return [event["message"] for event in result["events"]]


def test_streams_of_a_job_as_the_sdk_asks_for_them(service: LocalService) -> None:
    result = service.call(
        "DescribeLogStreams", "logs", logGroupName=GROUP, logStreamNamePrefix="dogs/", orderBy="LogStreamName", limit=1
    )
    [stream] = result["logStreams"]
    assert stream["logStreamName"] == "dogs/algo-1-1000"
    assert (stream["firstEventTimestamp"], stream["lastEventTimestamp"]) == (1000, 1009)
    assert "nextToken" not in result, "the SDK repeats the request for ever while there is a token"


def test_pages_of_streams(service: LocalService) -> None:
    first = service.call("DescribeLogStreams", "logs", logGroupName=GROUP, limit=1)
    assert first["logStreams"][0]["logStreamName"] == "cats/algo-1-2000"
    second = service.call("DescribeLogStreams", "logs", logGroupName=GROUP, limit=1, nextToken=first["nextToken"])
    assert second["logStreams"][0]["logStreamName"] == "dogs/algo-1-1000"
    assert "nextToken" not in second


def test_the_sdk_reads_forward_until_the_token_repeats(service: LocalService) -> None:
    first = events(service, "dogs/algo-1-1000", startFromHead=True, startTime=0, limit=7)
    assert messages(first) == [f"dogs {number}" for number in range(7)]
    second = events(service, "dogs/algo-1-1000", startFromHead=True, nextToken=first["nextForwardToken"])
    assert messages(second) == ["dogs 7", "dogs 8", "dogs 9"]
    third = events(service, "dogs/algo-1-1000", nextToken=second["nextForwardToken"])
    assert (messages(third), third["nextForwardToken"]) == ([], second["nextForwardToken"])


def test_a_line_that_comes_later_is_on_the_next_page(service: LocalService) -> None:
    stream = add_job(service, "growing", [(1, "a")])
    path = service.state.training_jobs.folder("growing").log
    token = events(service, stream, startFromHead=True)["nextForwardToken"]
    with path.open("a") as file:
        file.write("2 half")
        file.flush()
        assert messages(events(service, stream, nextToken=token)) == []
        file.write(" and whole\n3 c\n")
    assert messages(events(service, stream, nextToken=token)) == ["half and whole", "c"]


def test_the_newest_events_come_without_a_token(service: LocalService) -> None:
    newest = events(service, "dogs/algo-1-1000", limit=3)
    assert messages(newest) == ["dogs 7", "dogs 8", "dogs 9"]
    older = events(service, "dogs/algo-1-1000", limit=3, nextToken=newest["nextBackwardToken"])
    assert messages(older) == ["dogs 4", "dogs 5", "dogs 6"]


def test_times_bound_the_events(service: LocalService) -> None:
    result = events(service, "dogs/algo-1-1000", startFromHead=True, startTime=1003, endTime=1005)
    assert messages(result) == ["dogs 3", "dogs 4"]


def test_events_of_many_streams_in_the_order_of_time(service: LocalService) -> None:
    found: list[dict[str, Any]] = []
    token: dict[str, str] = {}
    while True:
        names = ["dogs/algo-1-1000", "cats/algo-1-2000"]
        page = service.call("FilterLogEvents", "logs", logGroupName=GROUP, logStreamNames=names, limit=6, **token)
        found += page["events"]
        if "nextToken" not in page:
            break
        token = {"nextToken": page["nextToken"]}
    assert len(found) == 20
    assert len({event["eventId"] + event["logStreamName"] for event in found}) == 20
    assert [event["timestamp"] for event in found] == sorted(event["timestamp"] for event in found)


@pytest.mark.parametrize(
    ("pattern", "numbers"),
    [
        ("loss", 10),
        ('"cats loss=3"', 1),
        ("loss -loss=3", 9),
        ("?loss=1 ?loss=2", 2),
        ("loss=1 loss=2", 0),
        ("", 10),
    ],
)
def test_patterns(service: LocalService, pattern: str, numbers: int) -> None:
    result = service.call(
        "FilterLogEvents", "logs", logGroupName=GROUP, logStreamNamePrefix="cats/", filterPattern=pattern
    )
    assert len(result["events"]) == numbers


def test_what_is_not_there(service: LocalService) -> None:
    code, _ = service.error("DescribeLogStreams", "logs", logGroupName="/aws/lambda/x")
    assert code == "ResourceNotFoundException"
    code, message = service.error("GetLogEvents", "logs", logGroupName=GROUP, logStreamName="dogs/algo-2-1")
    assert (code, message) == ("ResourceNotFoundException", "The specified log stream does not exist.")
    for parameters in ({"nextToken": "f/x"}, {"nextToken": "1"}):
        code, message = service.error(
            "GetLogEvents", "logs", logGroupName=GROUP, logStreamName="dogs/algo-1-1000", **parameters
        )
        assert (code, message) == ("InvalidParameterException", "The specified nextToken is invalid.")
    code, message = service.error("FilterLogEvents", "logs", logGroupName=GROUP, filterPattern="{ $.x = 1 }")
    assert "patterns of terms alone" in message


def test_a_deleted_stream_is_gone(service: LocalService) -> None:
    stream = add_job(service, "old", [(1, "a")])
    service.call("DeleteLogStream", "logs", logGroupName=GROUP, logStreamName=stream)
    assert service.error("GetLogEvents", "logs", logGroupName=GROUP, logStreamName=stream)[0] == (
        "ResourceNotFoundException"
    )
    assert service.state.training_jobs.folder("old").log.is_file()


def test_groups(service: LocalService) -> None:
    [group] = service.call("DescribeLogGroups", "logs", logGroupNamePrefix="/aws/sagemaker/T")["logGroups"]
    assert group["logGroupName"] == GROUP
    assert service.call("DescribeLogGroups", "logs", logGroupNamePrefix="/aws/lambda") == {"logGroups": []}


@settings(max_examples=40)
@given(LINES, st.integers(0, 200), st.integers(0, 30), st.integers(1, 40))
def test_lines_by_byte_and_time(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[int, str]], most: int, start: int, block: int
) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(log_lines, "_NEAR", block)  # so that these few lines are many blocks
        check_lines(tmp_path_factory, steps, most, start)


def check_lines(tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[int, str]], most: int, start: int) -> None:
    path = tmp_path_factory.mktemp("log") / "log.txt"
    moment, expected = 0, []
    for step, text in steps:
        moment += step
        expected.append((moment, text))
    path.write_bytes("".join(f"{moment} {text}\n" for moment, text in expected).encode() + b"9 cut")
    found = [*lines_from(path, 0)]
    assert [(line.timestamp, line.message) for line in found] == expected
    last = lines_before(path, None, most)
    assert last == [line for line in found if line.start >= path.stat().st_size - most]
    from_time = [line for line in lines_from(path, offset_at(path, start)) if line.timestamp >= start]
    assert from_time == [line for line in found if line.timestamp >= start]


def test_a_time_in_a_long_log_is_found_without_reading_all_of_it(service: LocalService) -> None:
    stream = add_job(service, "long", [(number // 3, "x" * 90) for number in range(9000)])
    path = service.state.training_jobs.folder("long").log
    assert path.stat().st_size - offset_at(path, 2990) < 100_000
    assert events(service, stream, startFromHead=True, startTime=2990, limit=1)["events"][0]["timestamp"] == 2990
