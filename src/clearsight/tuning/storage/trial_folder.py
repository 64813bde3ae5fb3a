"""TrialFolder: the files of one trial. They are the truth about it, and the storage follows from them.

trial.json         the proposed values, and the number of attempts
outcome.json       the result, which the worker writes whole before it reports it
head.safetensors   the training of a head in a stack
run/               the run of a trial that trained by itself, or of the best head
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clearsight.core.files import atomic, read_json
from clearsight.core.records import read_record
from clearsight.core.space import Params
from clearsight.core.trial import TrialResult


@dataclass(frozen=True, slots=True)
class _Proposal:
    """Content of trial.json."""

    params: Params
    attempts: int


@dataclass(frozen=True, slots=True)
class TrialFolder:
    """The folder of one trial. Files survive a kill of any process; only a power failure may take the last of them."""

    path: Path

    @property
    def head(self) -> Path:
        """head.safetensors, of a trial that trained in a stack."""
        return self.path / "head.safetensors"

    @property
    def run(self) -> Path:
        """The run folder of the trial."""
        return self.path / "run"

    def write_proposal(self, params: Params, attempts: int = 1) -> None:
        """Write the values, and the number of the attempt that is about to begin."""
        _write(self.path / "trial.json", {"params": dict(params), "attempts": attempts})

    def proposal(self) -> tuple[dict[str, Any], int] | None:
        """Return the values and the number of attempts; None without a proposal."""
        file = self.path / "trial.json"
        if not file.is_file():
            return None
        proposal = read_record(_Proposal, read_json(file), str(file))
        return dict(proposal.params), proposal.attempts

    def write_result(self, result: TrialResult) -> None:
        """Write the result."""
        _write(self.path / "outcome.json", result.to_json())

    def result(self) -> TrialResult | None:
        """Return the result; None while there is none."""
        file = self.path / "outcome.json"
        return TrialResult.from_json(read_json(file), str(file)) if file.is_file() else None

    def clear(self) -> None:
        """Delete everything: an earlier trial of this number has left it."""
        shutil.rmtree(self.path, ignore_errors=True)

    def delete_weights(self) -> None:
        """Delete the weights of a trial that is not among the best; its scores stay."""
        # The names of both kinds of trials: whoever calls this does not know how a trial was trained.
        for file in (self.head, *(self.run / "checkpoints").glob("*.safetensors")):
            file.unlink(missing_ok=True)


def trial_numbers(trials: Path) -> list[int]:
    """Return the numbers of the trials that have a folder below `trials`, in order."""
    return sorted(int(path.name) for path in trials.iterdir() if path.name.isdecimal()) if trials.is_dir() else []


def _write(path: Path, value: Any) -> None:
    # Without fsync, which costs more than a small head; the folder promises to survive kills, not power failures.
    with atomic(path, sync=False) as part:
        part.write_text(json.dumps(value, allow_nan=False), encoding="utf-8")
