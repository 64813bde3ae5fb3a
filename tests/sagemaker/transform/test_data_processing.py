"""Filters and joins of batch transform, by the examples of SageMaker's documentation and by properties."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clearsight.core.errors import BadValue
from clearsight_sagemaker.transform.data_processing import DataProcessing
from clearsight_sagemaker.transform.json_path import JsonPath
from clearsight_sagemaker.transform.records import RecordBatch

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=10,
)


def processing(content_type: str, **values: str) -> DataProcessing:
    return DataProcessing.of({"TransformInput": {"ContentType": content_type}, "DataProcessing": values})


def batch(*records: bytes) -> RecordBatch:
    return RecordBatch(records, b"\n".join(records))


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("$", {"id": 7, "a b": [1, 2, 3], "deep": [{"x": 1}, {"x": 2}]}),
        ("$.id", 7),
        ("$['id']", 7),
        ('$["a b"]', [1, 2, 3]),
        ("$['a b'][0]", 1),
        ("$['a b'][-1]", 3),
        ("$['a b'][1:]", [2, 3]),
        ("$['a b'][:-1]", [1, 2]),
        ("$['a b'][0,2]", [1, 3]),
        ("$['id','a b']", [7, [1, 2, 3]]),
        ("$.deep[*].x", [1, 2]),
        ("$.deep.*", [{"x": 1}, {"x": 2}]),
    ],
)
def test_paths(path: str, expected: Any) -> None:
    value = {"id": 7, "a b": [1, 2, 3], "deep": [{"x": 1}, {"x": 2}]}
    assert JsonPath.of(path, "InputFilter").of_value(value) == expected


@pytest.mark.parametrize(
    "path", ["", "id", "$..id", "$[?(@.x>1)]", "$[", "$[]", "$[a]", "$['a',]", "$.", "$[1 2]", "$[::0]"]
)
def test_paths_that_cannot_be_read(path: str) -> None:
    with pytest.raises(BadValue, match="InputFilter"):
        JsonPath.of(path, "InputFilter")


@given(text=st.text("$.[]'\":,*-abc019 ?@()\\", max_size=12), value=VALUES)
def test_any_path_is_read_or_refused(text: str, value: Any) -> None:
    with contextlib.suppress(BadValue):
        JsonPath.of(f"${text}", "OutputFilter").of_value(value)


@given(value=VALUES)
def test_every_member_is_found_by_its_name(value: Any) -> None:
    for name in value if isinstance(value, dict) else ():
        quoted = name.replace("\\", "\\\\").replace("'", "\\'")
        assert JsonPath.of(f"$['{quoted}']", "InputFilter").of_value(value) == value[name]


def test_columns_of_csv_are_chosen_and_joined() -> None:
    data = processing("text/csv", InputFilter="$[1:]", OutputFilter="$[0,-1]", JoinSource="Input")
    records = batch(b'id-1,"a, b",2', b"id-2,c,4")
    assert data.body(records) == b'"a, b",2\nc,4'
    assert data.output(records, b"0.5\n0.9\n", "text/csv; charset=utf-8") == b"id-1,0.5\nid-2,0.9"


def test_json_records_get_the_output_beside_them() -> None:
    data = processing("application/jsonlines", InputFilter="$.image", JoinSource="Input")
    records = batch(b'{"id": 1, "image": "x"}', b'{"id": 2, "image": "y"}')
    assert data.body(records) == b'"x"\n"y"'
    joined = data.output(records, b'{"cat": 1}\n{"cat": 0}', "application/jsonlines").splitlines()
    assert [json.loads(line) for line in joined] == [
        {"id": 1, "image": "x", "SageMakerOutput": {"cat": 1}},
        {"id": 2, "image": "y", "SageMakerOutput": {"cat": 0}},
    ]
    assert data.output(records, b"[[1], [0]]", "application/json") == (
        b'{"id": 1, "image": "x", "SageMakerOutput": [1]}\n{"id": 2, "image": "y", "SageMakerOutput": [0]}'
    )


def test_a_json_value_that_is_no_object_is_joined_by_name() -> None:
    data = processing("application/json", JoinSource="Input")
    assert json.loads(data.output(batch(b"[1, 2]"), b'{"cat": 1}', "application/json")) == {
        "SageMakerInput": [1, 2],
        "SageMakerOutput": {"cat": 1},
    }


@pytest.mark.parametrize(
    ("response", "content_type", "sentence"),
    [
        (b"1\n2", "text/csv", "2 results for 1 records"),
        (b"{", "application/json", "not JSON"),
        (b"1", "application/json", "cannot be joined"),
        (b"\xff", "image/png", "need text/csv or JSON"),
    ],
)
def test_responses_that_do_not_fit(response: bytes, content_type: str, sentence: str) -> None:
    with pytest.raises(BadValue, match=sentence):
        processing("text/csv", JoinSource="Input").output(batch(b"a,b"), response, content_type)


def test_filters_need_records_that_can_be_read() -> None:
    with pytest.raises(BadValue, match="image/jpeg"):
        processing("image/jpeg", JoinSource="Input")
    plain = processing("image/jpeg")
    assert (plain.body(batch(b"\xff")), plain.output(batch(b"\xff"), b"\x00", "x")) == (b"\xff", b"\x00")
