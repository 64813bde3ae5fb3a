"""Metrics are the numbers that regular expressions find in lines."""

from __future__ import annotations

import pytest

from clearsight_sagemaker.training.failure import JobFailed
from clearsight_sagemaker.training.metric_definitions import MetricReader


def read(expression: str, *lines: str) -> tuple[list[float], list[str]]:
    values: list[float] = []
    reader = MetricReader.of([{"Name": "loss", "Regex": expression}], lambda name, value, time: values.append(value))
    reader.read(lines)
    return values, reader.finish()


@pytest.mark.parametrize(
    ("expression", "line", "values"),
    [
        (r"Validation Loss: ([+-]?[0-9\.]+)", "INFO:__main__:Validation Loss: 0.0075", [0.0075]),
        (r"loss=(.*?);", "epoch=1; loss=1e-3; acc=0.5;", [0.001]),
        (r"loss (\S+)", "loss nan", []),
        (r"loss (\S+)", "loss inf", []),
        (r"loss (\S+)", "loss high", []),
        (r"[0-9]+\.[0-9]+", "loss 0.5 of 0.7", [0.5]),
        (r"(a)?loss", "loss", []),
    ],
)
def test_the_first_group_is_the_value(expression: str, line: str, values: list[float]) -> None:
    assert read(expression, line)[0] == values


def test_a_definition_without_a_match_is_reported_with_the_nearest_line() -> None:
    values, sentences = read(
        r"Average validation loss: ([0-9.]+)", "epoch 1", "Average loss of validation: 0.25", "bye"
    )
    assert values == []
    assert sentences == [
        "metric 'loss': no line gave a number for Average validation loss: ([0-9.]+) "
        "- the nearest line: Average loss of validation: 0.25"
    ]


def test_of_very_many_values_the_last_one_is_passed_on() -> None:
    values, sentences = read(r"loss (\S+)", *(f"loss {number}" for number in range(100_000)))
    assert values[:1000] == list(range(1000))
    assert len(values) < 2000
    assert values[-1] == 99_999
    assert sentences == []


def test_a_bad_expression_is_refused_with_its_name() -> None:
    with pytest.raises(JobFailed, match=r"^ClientError: metric 'loss': 'loss \(' is no regular expression"):
        read("loss (")
