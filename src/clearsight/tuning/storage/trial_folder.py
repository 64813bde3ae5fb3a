"""TrialFolder: what lies on disk of one trial. It is the truth; the storage is told from it.

trial.json     the point that was proposed, and how often it was begun
outcome.json   what came of it, written whole by the worker before anybody hears of it
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clearsight.core.files import atomic, read_json
from clearsight.core.space import Params
from clearsight.core.trial import TrialResult


@dataclass(frozen=True, slots=True)
class TrialFolder:
    """The folder of one trial. Files survive a kill of any process; only a loss of power may take the last of them."""

    path: Path

    def propose(self, params: Params, attempts: int = 1) -> None:
        """Keep the point, and the number of the attempt that is about to begin."""
        _write(self.path / "trial.json", {"params": dict(params), "attempts": attempts})

    def proposed(self) -> tuple[dict[str, Any], int] | None:
        """The point and the attempts so far; None where nothing was proposed."""
        file = self.path / "trial.json"
        if not file.is_file():
            return None
        kept = read_json(file)
        return dict(kept["params"]), int(kept["attempts"])

    def conclude(self, outcome: TrialResult) -> None:
        """Keep what came of it."""
        _write(self.path / "outcome.json", outcome.to_json())

    def outcome(self) -> TrialResult | None:
        """What came of it; None while that is open."""
        file = self.path / "outcome.json"
        return TrialResult.from_json(read_json(file)) if file.is_file() else None

    def clear(self) -> None:
        """Forget everything: the point was another one's."""
        shutil.rmtree(self.path, ignore_errors=True)

    def drop_weights(self) -> None:
        """Let go of the weights of a trial that is not among the best; its numbers stay."""
        for file in (self.path / "head.safetensors", *(self.path / "run" / "checkpoints").glob("*.safetensors")):
            file.unlink(missing_ok=True)


def numbers(trials: Path) -> list[int]:
    """The trials that have a folder below `trials`, in order."""
    return sorted(int(one.name) for one in trials.iterdir() if one.name.isdecimal()) if trials.is_dir() else []


def _write(path: Path, value: Any) -> None:
    with atomic(path, sync=False) as part:
        part.write_text(json.dumps(value, allow_nan=False), encoding="utf-8")
