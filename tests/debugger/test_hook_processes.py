"""Hook in a training on several processes: the first records, and all train the same."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from clearsight.debugger.storage.saved_run import SavedRun
from tests.debugger.conftest import MakeHook
from tests.debugger.loops import watched_loop
from tests.debugger.networks import network

_RANK = """
import os
import sys
from pathlib import Path
import torch
from torch import nn
from clearsight.debugger.hook import Hook
from tests.debugger.networks import batches, hooks_on, network, sgd
rank, folder, workers = int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
torch.set_num_threads(1)
torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
model = nn.parallel.DistributedDataParallel(network())
model.module[3].p = 0.0
optimizer, loss = sgd(model), nn.CrossEntropyLoss()
hook = Hook(folder / "run", workers=workers, rules="none", quiet=True, save_every=2) if workers != "no" else None
if hook:
    hook.watch(model, loss, optimizer)
for inputs, labels in batches(5, seed=rank):
    optimizer.zero_grad()
    loss(model(inputs), labels).backward()
    optimizer.step()
if hook:
    hook.close()
    assert hook.failure is None, hook.failure
    assert hook.step == (5 if rank == 0 or workers == "all" else 0)
assert hooks_on(model.module, optimizer) == 0
torch.save(model.module.state_dict(), folder / f"{rank}.pt")
torch.distributed.barrier()
os._exit(0)  # all is asserted and written; gloo's threads sometimes abort when an interpreter is taken down around them
"""


def on_two_ranks(folder: Path, workers: str) -> dict[str, torch.Tensor]:
    """The weights of rank 0 after training on two processes."""
    folder.mkdir()
    words = [[sys.executable, "-c", _RANK, str(rank), str(folder), workers] for rank in (0, 1)]
    ranks = [subprocess.Popen(w, stderr=subprocess.PIPE, text=True) for w in words]
    for process in ranks:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
    state: dict[str, torch.Tensor] = torch.load(folder / "0.pt", weights_only=True)
    return state


def test_of_several_processes_the_first_records_and_all_train_the_same(tmp_path: Path) -> None:
    unwatched, watched = on_two_ranks(tmp_path / "no", "no"), on_two_ranks(tmp_path / "one", "one")
    assert all(torch.equal(unwatched[name], watched[name]) for name in unwatched)
    assert {path.name for path in (tmp_path / "one" / "run").glob("metrics*")} == {"metrics.jsonl"}
    names = SavedRun(tmp_path / "one" / "run").tensor_names(collection="activations")
    assert "activation/6" in names  # by the names of the model, without DistributedDataParallel's


def test_where_all_processes_record_their_files_carry_the_rank(
    make_hook: MakeHook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clearsight.debugger.hook._rank", lambda: 1)
    inert = make_hook().watch(network())
    inert.record(loss=1.0)
    inert.save_scalar("mine", 1.0)
    inert.close()
    assert not inert.out.exists()
    hook = make_hook(workers="all")
    watched_loop(hook)
    assert {path.name for path in hook.out.iterdir()} == {"metrics.1.jsonl", "tensors"}
    assert SavedRun(hook.out, rank=1).tensor_names(collection="weights")
