"""The reason of an end is a kind for programs and a text for people."""

from __future__ import annotations

import dataclasses

import pytest

from clearsight.core.stop import StopKind, StopReason, stop_kind


@pytest.mark.parametrize("kind", StopKind)
def test_every_kind_survives_json(kind: StopKind) -> None:
    assert stop_kind(kind.value) is kind


@pytest.mark.parametrize("value", [None, ""])
def test_without_a_kind_there_is_none(value: str | None) -> None:
    assert stop_kind(value) is None


def test_a_kind_of_a_later_version_is_unknown_and_no_error() -> None:
    assert stop_kind("ran_out_of_coffee") is StopKind.UNKNOWN


def test_a_reason_is_an_unchangeable_value() -> None:
    reason = StopReason(StopKind.SIGNAL, "stopped by SIGINT")
    assert reason == StopReason(StopKind("signal"), "stopped by SIGINT")
    with pytest.raises(dataclasses.FrozenInstanceError):
        reason.text = "another"  # type: ignore[misc]
