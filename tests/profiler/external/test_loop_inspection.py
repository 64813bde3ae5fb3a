"""Loop facts: what a model and a batch show of how a loop is set up."""

from __future__ import annotations

import torch
from torch import nn

from clearsight.core.profile import Machine
from clearsight.profiler.external.batch import BatchInfo
from clearsight.profiler.external.loop_inspection import current_machine, current_rank, seen_in_batch, seen_in_pass


def test_a_pass_shows_device_precision_and_layout() -> None:
    model, images = nn.Conv2d(3, 4, 1), torch.zeros(2, 3, 8, 8)
    seen = seen_in_pass(Machine(gpus=3, name="a GPU"), model, (images,))
    assert (seen.device, seen.gpus, seen.name, seen.precision, seen.channels_last) == ("cpu", 0, "", "fp32", False)
    assert seen.threads == torch.get_num_threads()
    with torch.autocast("cpu", torch.bfloat16):
        seen = seen_in_pass(Machine(), model, (images.to(memory_format=torch.channels_last),))
    assert (seen.precision, seen.channels_last) == ("bf16", True)


def test_what_are_no_images_have_no_layout() -> None:
    assert seen_in_pass(Machine(), nn.Linear(2, 2, dtype=torch.float64), (torch.zeros(1, 2),)).channels_last is None
    assert seen_in_pass(Machine(), nn.Linear(2, 2, dtype=torch.float64), ()).precision == "float64"


def test_a_batch_shows_who_reads() -> None:
    batch = BatchInfo(size=8, bytes=800, first=False, workers=2, prefetch=3, images=None)
    seen = seen_in_batch(Machine(batch_size=16), batch)
    assert (seen.workers, seen.reading, seen.prefetch) == (2, "processes", 3)
    assert (seen.batch_size, seen.batch_bytes) == (16, 800)  # the last batch of an epoch is a small one
    assert seen_in_batch(Machine(), BatchInfo(8, 800, False, 0, 0, None)).reading == "here"
    assert seen_in_batch(Machine(), None) == Machine()


def test_this_process() -> None:
    here = current_machine()
    assert here.cores >= 1
    assert here.threads == torch.get_num_threads()
    assert here.device == ("cuda" if torch.cuda.is_initialized() else "cpu")  # type: ignore[no-untyped-call]
    assert current_rank() == 0
