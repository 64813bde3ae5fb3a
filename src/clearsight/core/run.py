"""A training run: its folder and its state."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from clearsight.core.errors import NotFound, NotResumable
from clearsight.core.events import RunStatus
from clearsight.core.files import read_json, read_jsonl, write_json, write_text
from clearsight.core.recipe import Recipe


@dataclass(kw_only=True)
class Run:
    """A run folder. run.json is rewritten atomically at each change of state; all else is written once or appended."""

    path: Path
    name: str
    recipe: Recipe
    status: RunStatus = RunStatus.RUNNING
    reason: str = ""
    seed: int = 0
    data: dict[str, Any] = field(default_factory=dict)  # path, format, fingerprint, classes, counts
    versions: dict[str, str] = field(default_factory=dict)
    hardware: dict[str, Any] = field(default_factory=dict)
    command: list[str] = field(default_factory=list)
    started: float = field(default_factory=time.time)
    seconds: float = 0.0
    best_epoch: int | None = None
    scores: dict[str, Any] = field(default_factory=dict)  # {"valid": {...}, "test": {...} | None}
    images_per_second: float | None = None
    spared_seconds: float = 0.0  # of forward passes that the feature cache answered

    @classmethod
    def begin(cls, path: Path, recipe: Recipe, **facts: Any) -> Run:
        """A new run in the new or empty folder `path`; raises NotResumable when a run is there already."""
        cls.check_free(path)
        for folder in ("checkpoints", "model", "evaluation"):
            (path / folder).mkdir(parents=True, exist_ok=True)
        run = cls(path=path, name=path.name, recipe=recipe, seed=recipe.train.seed, **facts)
        write_text(path / "recipe.yaml", recipe.to_yaml())
        run.save()
        return run

    @staticmethod
    def check_free(path: Path) -> None:
        """Raise NotResumable when a run is in the folder `path` already."""
        if (path / "run.json").exists():
            raise NotResumable(
                str(path), "a run is there already", fix=f"Continue it with --resume {path}, or choose another --out."
            )

    @classmethod
    def open(cls, path: Path) -> Run:
        """The run in folder `path`; raises NotFound when there is none."""
        if not (path / "run.json").is_file():
            raise NotFound(str(path), "there is no run in this folder (no run.json)")
        facts = read_json(path / "run.json")
        facts["status"] = RunStatus(facts["status"])
        return cls(path=path, recipe=Recipe.load(path / "recipe.yaml"), **facts)

    def save(self) -> None:
        """Write run.json."""
        facts = {key: value for key, value in self.__dict__.items() if key not in ("path", "recipe")}
        write_json(self.path / "run.json", facts)

    def finish(self, status: RunStatus, reason: str = "") -> None:
        """Record how it ended."""
        self.status, self.reason = status, reason
        self.save()

    @property
    def checkpoints(self) -> Path:
        """Folder of the resume state."""
        return self.path / "checkpoints"

    @property
    def bundle(self) -> Path:
        """Folder of the model that came out."""
        return self.path / "model"

    @property
    def has_bundle(self) -> bool:
        """Whether a model came out."""
        return (self.bundle / "bundle.json").is_file()

    def metrics(self) -> list[dict[str, Any]]:
        """Every line of metrics.jsonl: {"step", "epoch", "mode", "name", "value"}; a torn last line is left out."""
        return list(read_jsonl(self.path / "metrics.jsonl"))

    def epochs(self) -> list[dict[str, Any]]:
        """Each finished epoch, from metrics.jsonl, with the fields of EpochRecord."""
        table: dict[int, dict[str, Any]] = {}
        for line in self.metrics():
            kind, _, name = line["name"].partition("_")
            if kind not in ("epoch", "valid"):
                continue
            blank = {"epoch": line["epoch"], "epochs": self.recipe.train.passes, "step": line["step"]}
            row = table.setdefault(line["epoch"], {**blank, "train": {}, "valid": {}})
            if kind == "valid":
                row["valid"][name] = line["value"]
            elif name in ("loss", "accuracy"):
                row["train"][name] = line["value"]
            else:
                row[name] = bool(line["value"]) if name == "best" else line["value"]
        return list(table.values())
