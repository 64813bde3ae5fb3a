"""Files: records, messages and steps come back as they were written, and damage is refused."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from smdebug.core.event_message import SavedEvent, decode_event, encode_event
from smdebug.core.file_store import LocalFiles
from smdebug.core.modes import ModeKeys
from smdebug.core.record_file import crc32c, frame, masked_crc32c, payloads
from smdebug.core.step_writer import StepWriter
from smdebug.exceptions import CorruptFile
from smdebug.trials import create_trial
from tests.sagemaker.smdebug.conftest import DISTRIBUTION

DTYPES = ["f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "c8", "c16", "?"]
VALUES = st.sampled_from(DTYPES).flatmap(
    lambda dtype: arrays.arrays(np.dtype(dtype), arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=3))
)


def test_the_checksum_is_that_of_the_standard() -> None:
    assert crc32c(b"123456789") == 0xE3069283
    assert masked_crc32c(b"") == 0xA282EAD8


@given(st.lists(st.binary(max_size=40)), st.booleans())
def test_records_come_back(contents: list[bytes], checksum: bool) -> None:
    data = b"".join(frame(content, checksum=checksum) for content in contents)
    assert list(payloads(data, check=True)) == contents


@given(st.binary(min_size=1, max_size=40), st.data())
def test_a_cut_or_changed_record_is_refused(content: bytes, data: st.DataObject) -> None:
    whole = frame(content, checksum=True)
    with pytest.raises(CorruptFile, match="ends inside"):
        list(payloads(whole[: data.draw(st.integers(1, len(whole) - 1))]))
    place = data.draw(st.integers(0, len(whole) - 1))
    changed = bytes([*whole[:place], whole[place] ^ 1, *whole[place + 1 :]])
    with pytest.raises(CorruptFile):
        list(payloads(changed, check=True))


@given(
    VALUES,
    st.text(max_size=20),
    st.integers(0, 2**40),
    st.sampled_from(ModeKeys),
    st.integers(0, 2**40),
    st.floats(0, 4e9),
)
def test_tensors_come_back(
    value: np.ndarray, tag: str, step: int, mode: ModeKeys, mode_step: int, wall_time: float
) -> None:
    (event,) = decode_event(encode_event(SavedEvent(tag, value, step, mode, mode_step, wall_time)))
    assert (event.tag, event.step, event.mode, event.mode_step, event.wall_time) == (
        *(tag, step, mode, mode_step, wall_time),
    )
    assert (event.value.dtype, event.value.shape) == (value.dtype, value.shape)
    assert event.value.tobytes() == value.tobytes()


def test_texts_come_back() -> None:
    value = np.array(["beagle", "münsterländer", ""])
    (event,) = decode_event(encode_event(SavedEvent("breeds", value, 1, ModeKeys.TRAIN, 1, 0.0)))
    assert event.value.tolist() == value.tolist()


@given(st.binary(max_size=60))
def test_any_bytes_are_a_message_or_refused(message: bytes) -> None:
    with contextlib.suppress(CorruptFile):
        assert isinstance(decode_event(message), list)


def test_values_that_come_late_extend_a_step(tmp_path: Path) -> None:
    files = LocalFiles(str(tmp_path))
    for name in ("first", "second"):
        writer = StepWriter(files, 3, "worker_0")
        writer.write_tensor(name, np.ones(2), ModeKeys.TRAIN, 3)
        writer.close()
    files.write("collections/000000000/worker_0_collections.json", b'{"collections": {}, "_meta": {"num_workers": 1}}')
    trial = create_trial(str(tmp_path))
    assert trial.tensor_names(step=3) == ["first", "second"]
    assert trial.tensor("first").value(3).tolist() == [1, 1]


WRITER = """
import sys, numpy
from smdebug.core.file_store import LocalFiles
from smdebug.core.collection_manager import CollectionManager
from smdebug.core.modes import ModeKeys
from smdebug.core.step_writer import StepWriter
files = LocalFiles(sys.argv[1])
files.write("collections/000000000/worker_0_collections.json", CollectionManager().to_json().encode())
for step in range(1000000):
    writer = StepWriter(files, step, "worker_0")
    for name in "abc":
        writer.write_tensor(name, numpy.full(5000, step), ModeKeys.TRAIN, step)
    writer.close()
    print(step, flush=True)
"""


def test_a_killed_training_leaves_whole_steps(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path)],
        env={"PYTHONPATH": str(DISTRIBUTION)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    written = [int(process.stdout.readline()) for _ in range(40)]
    process.kill()
    process.communicate()
    started = time.monotonic()
    trial = create_trial(str(tmp_path))
    steps = trial.steps(mode=ModeKeys.TRAIN)
    assert steps[: len(written)] == written
    for step in steps:
        assert trial.tensor_names(step=step, mode=ModeKeys.TRAIN) == ["a", "b", "c"]
        assert trial.tensor("c").value(step, mode=ModeKeys.TRAIN).tolist() == [step] * 5000
    assert time.monotonic() - started < 60
