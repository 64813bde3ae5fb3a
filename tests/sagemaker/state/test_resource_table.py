"""ResourceTable: pages in any order hold every resource once, and a change outlives a kill."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clearsight.core.errors import BadData
from clearsight_sagemaker.state.resource_table import BadToken, Resource, ResourceExists, ResourceQuery, ResourceTable

ROWS = st.lists(
    st.tuples(st.sampled_from("abcd"), st.integers(1, 4), st.integers(1, 4), st.sampled_from(["Done", "Failed"])),
    max_size=12,
)
SORT_BY = st.sampled_from(["name", "created", "modified", "status"])


def table(tmp_path: Path) -> ResourceTable:
    return ResourceTable(f"sqlite:///{tmp_path / 'state.sqlite'}")


def pages(resources: ResourceTable, query: ResourceQuery) -> list[Resource]:
    found, token = resources.page(query)
    while token:
        more, token = resources.page(replace(query, token=token))
        found += more
    return found


@settings(max_examples=40)
@given(ROWS, SORT_BY, st.booleans(), st.integers(1, 5), st.integers(1, 4))
def test_pages_hold_every_resource_once_in_order(
    rows: list[tuple[str, int, int, str]],
    sort_by: Literal["name", "created", "modified", "status"],
    descending: bool,
    limit: int,
    created_after: int,
) -> None:
    resources = ResourceTable("sqlite://")  # in memory: many examples
    try:
        for number, (letter, created, modified, status) in enumerate(rows):
            values: dict[str, Any] = {"created": float(created), "modified": float(modified), "status": status}
            resources.add(Resource(kind="job", name=f"{letter}{number}", document={}, **values))
        query = ResourceQuery(
            kind="job", sort_by=sort_by, descending=descending, limit=limit, created_after=created_after
        )
        found = pages(resources, query)
        expected = {f"{row[0]}{number}" for number, row in enumerate(rows) if row[1] >= created_after}
        assert {resource.name for resource in found} == expected
        assert len(found) == len(expected)
        values_found = [getattr(resource, sort_by) for resource in found]
        assert values_found == sorted(values_found, reverse=descending)
    finally:
        resources.close()


def test_a_filter_of_the_caller_fills_pages(tmp_path: Path) -> None:
    resources = table(tmp_path)
    for number in range(10):
        resources.add(Resource(kind="job", name=f"{number}", status="", document={"even": number % 2 == 0}))
    query = ResourceQuery(kind="job", sort_by="name", limit=2, accepts=lambda resource: resource.document["even"])
    assert [resource.name for resource in resources.page(query)[0]] == ["0", "2"]
    assert [resource.name for resource in pages(resources, query)] == ["0", "2", "4", "6", "8"]
    resources.close()


def test_signs_of_a_search_pattern_are_letters(tmp_path: Path) -> None:
    resources = table(tmp_path)
    resources.add(Resource(kind="job", name="plain", status="", document={}))
    assert resources.page(ResourceQuery(kind="job", name_contains="p%n"))[0] == []
    assert resources.page(ResourceQuery(kind="job", name_contains="lai"))[0] != []
    resources.close()


def test_a_name_is_used_once_in_a_kind(tmp_path: Path) -> None:
    resources = table(tmp_path)
    resources.add(Resource(kind="job", name="dogs", status="", document={}))
    resources.add(Resource(kind="model", name="dogs", status="", document={}))
    with pytest.raises(ResourceExists):
        resources.add(Resource(kind="job", name="dogs", status="", document={}))
    resources.close()


def test_changes_of_many_threads_are_all_there(tmp_path: Path) -> None:
    resources = table(tmp_path)
    resources.add(Resource(kind="job", name="dogs", status="", document={"count": 0}))

    def count() -> None:
        for _ in range(10):
            resources.change("job", "dogs", lambda row: replace(row, document={"count": row.document["count"] + 1}))

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = resources.get("job", "dogs")
    assert found is not None
    assert found.document == {"count": 40}
    resources.close()


WRITER = """
import sys
from clearsight_sagemaker.state.resource_table import Resource, ResourceTable
table = ResourceTable(sys.argv[1])
for number in range(100000):
    table.add(Resource(kind="job", name=str(number), status="", document={}))
    print(number, flush=True)
"""


def test_what_was_added_outlives_a_kill(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'state.sqlite'}"
    with subprocess.Popen([sys.executable, "-c", WRITER, url], stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        reported = [int(writer.stdout.readline()) for _ in range(30)]
        writer.send_signal(signal.SIGKILL)
        reported += [int(line) for line in writer.stdout if line.endswith("\n")]
    resources = ResourceTable(url)
    names = {resource.name for resource in resources.every("job")}
    assert {str(number) for number in reported} <= names
    assert len(names) <= len(reported) + 1
    resources.close()


@pytest.mark.parametrize("token", ["x", "bnVsbA==", "WzEsICJhIl0=", "\xff"])
def test_a_token_of_somebody_else(token: str, tmp_path: Path) -> None:
    resources = table(tmp_path)
    with pytest.raises(BadToken):
        resources.page(ResourceQuery(kind="job", token=token))
    resources.close()


def test_a_database_that_cannot_be_opened_does_not_tell_the_password(tmp_path: Path) -> None:
    with pytest.raises(BadData, match="cannot be opened"):
        ResourceTable(f"sqlite:///{tmp_path}/missing/state.sqlite")
    with pytest.raises(BadData) as refused:
        ResourceTable("nosuch://me:geheim@machine/state")
    assert "geheim" not in str(refused.value)
