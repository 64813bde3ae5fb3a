"""SavedSteps: what a schedule has saved, what it has missed, and why.

smdebug drops values silently: a collection of a rule brings its own interval, and `save_tensor` outside of a saved step
is lost. A rule then judges one or two points. The counts are logged when the hook closes, and stand in
`saved_steps.json` beside the tensors.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, Iterable

from smdebug.core.collection import TRAINING_COLLECTIONS, Collection
from smdebug.core.modes import ModeKeys
from smdebug.core.save_config import SaveConfig, SaveConfigMode

# Collections that rules of SageMaker bring, with an interval of their own.
_RULES = {
    "losses": "LossNotDecreasing",
    "gradients": "VanishingGradient",
    "weights": "WeightUpdateRatio",
    "relu_input": "PoorWeightInitialization",
    "relu_output": "DeadRelu",
    "input_image": "CheckInputImages",
}
_ENOUGH_POINTS = 3  # with fewer, no rule sees a development


class SavedSteps:
    """Counts forward passes, saved steps of each collection, and values that found no saved step."""

    def __init__(self) -> None:
        self._forwards: Counter[ModeKeys] = Counter()
        self._saved: Counter[tuple[str, ModeKeys]] = Counter()
        self._by_hook: Counter[ModeKeys] = Counter()  # steps that the schedule of the hook saves
        self._staged: Counter[str] = Counter()
        self._written: Counter[str] = Counter()
        self._newest: dict[str, tuple[ModeKeys, int]] = {}  # step of the value that was written last

    def count_pass(self, mode: ModeKeys, mode_step: int, due: list[Collection], default: SaveConfig) -> None:
        """Count a forward pass, at which the collections `due` are saved. default: the schedule of the hook."""
        self._forwards[mode] += 1
        self._by_hook[mode] += default.should_save_step(mode, mode_step)
        for collection in due:
            self._saved[collection.name, mode] += 1

    def count_staged(self, call: str) -> None:
        """Count a call of `save_tensor` or `save_scalar`, such as "save_tensor(accuracy)"."""
        self._staged[call] += 1

    def count_written(self, call: str, mode: ModeKeys, mode_step: int) -> None:
        """Count a value that has been written at a step. A second one at the same step replaces the first."""
        self._written[call] += self._newest.get(call) != (mode, mode_step)
        self._newest[call] = (mode, mode_step)

    def sentences(self, collections: Iterable[Collection], default: SaveConfig) -> list[str]:
        """Return what was missed, one sentence each; none where nothing was."""
        found = []
        for collection in collections:
            found += [self._schedule_sentence(collection, mode, default) for mode in self._modes(collection)]
        found += [
            f"{call}: {self._staged[call] - self._written[call]} of {self._staged[call]} values were dropped, because "
            "no saved step came between them and the next value of that name. CLEARSIGHT_SMDEBUG=lossless keeps all."
            for call in self._staged
            if self._staged[call] > self._written[call]
        ]
        return list(filter(None, found))

    def to_json_dict(self, collections: Iterable[Collection], default: SaveConfig) -> dict[str, Any]:
        """Return all counts, and the sentences."""
        collections = list(collections)
        return {
            "version": 1,
            "forward_passes": {mode.name: count for mode, count in self._forwards.items()},
            "collections": {
                collection.name: {
                    mode.name: {
                        "saved_steps": self._saved[collection.name, mode],
                        "forward_passes": self._forwards[mode],
                        "saved_steps_of_hook_schedule": self._by_hook[mode],
                        "schedule": _schedule(collection.save_config, mode).to_json_dict(),
                        "hook_schedule": _schedule(default, mode).to_json_dict(),
                    }
                    for mode in self._modes(collection)
                }
                for collection in collections
            },
            "values": {
                call: {"saved": count, "written": self._written[call], "dropped": count - self._written[call]}
                for call, count in self._staged.items()
            },
            "sentences": self.sentences(collections, default),
        }

    def _modes(self, collection: Collection) -> list[ModeKeys]:
        evaluates = (ModeKeys.EVAL, ModeKeys.PREDICT)
        hidden = evaluates if collection.name in TRAINING_COLLECTIONS else ()
        return [mode for mode in self._forwards if mode not in hidden]

    def _schedule_sentence(self, collection: Collection, mode: ModeKeys, default: SaveConfig) -> str:
        forwards, saved, by_hook = self._forwards[mode], self._saved[collection.name, mode], self._by_hook[mode]
        if saved >= by_hook and (saved >= _ENOUGH_POINTS or saved == forwards):
            return ""
        reader = f" (read by rules such as {_RULES[collection.name]})" if collection.name in _RULES else ""
        points = f"{saved} of {forwards} {mode.name} steps {'was' if saved == 1 else 'were'} saved"
        text = f"collection {collection.name}{reader}: {points}"
        of_collection, of_hook = _schedule(collection.save_config, mode), _schedule(default, mode)
        if saved < by_hook:
            return (
                f"{text}, because its own save_interval {of_collection.save_interval} overrides the hook's "
                f"{of_hook.save_interval}, which saves {by_hook}. Set {mode.prefix}save_interval on the collection."
            )
        return f"{text}, with save_interval {of_collection.save_interval}. Lower it for more points."


def _schedule(config: SaveConfig | None, mode: ModeKeys) -> SaveConfigMode:
    schedule = config.mode_save_configs[mode] if config is not None else None
    return schedule if schedule is not None else SaveConfigMode()
