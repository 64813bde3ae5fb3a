"""Checkpoints of other programs: where their tensors are, and what stands before their names. No code in them runs."""

from __future__ import annotations

import pickle
import re
import struct
import warnings
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.serialization import get_unsafe_globals_in_checkpoint, safe_globals

from clearsight.core.errors import BadValue

T = TypeVar("T")

# Raised by the restricted unpickler for damaged and foreign files; none of them is a fault of clearsight.
_UNREADABLE = (
    *(pickle.UnpicklingError, RuntimeError, EOFError, ValueError, LookupError, TypeError, OSError),
    *(struct.error, AttributeError, ArithmeticError, MemoryError),
)
# Entries of a checkpoint that may hold the weights. Averaged weights come first, as timm takes them: training scripts
# that keep them validate them.
_ENTRIES = (
    *("state_dict_ema", "model_ema", "ema_state_dict", "ema", "params_ema"),
    *("state_dict", "model_state_dict", "model_state", "model", "net", "network", "module", "params", "weights"),
)
_NOT_WEIGHTS = ("optim", "sched", "scaler", "callbacks", "loops")  # parts of names of entries that hold other tensors
_DEPTH = 4  # entries within entries
# Wrappers put these before every name: torch.compile, DataParallel, Lightning, averages, self-supervised training.
_PREFIXES = (
    *("_orig_mod.", "module.", "model.", "net.", "network.", "ema_model.", "backbone.", "encoder."),
    *("teacher.", "student.", "encoder_q.", "online_encoder.", "base_encoder.", "visual.", "trunk."),
)
_FIX = "Save model.state_dict() with torch.save, or as safetensors."


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Tensors of a file by name. note: where in the file they were and what was taken off their names, if anything."""

    tensors: Mapping[str, Tensor]
    note: str = ""

    def plain(self) -> Checkpoint:
        """Return the checkpoint without the prefixes of wrappers that all of its names have."""
        tensors, taken = without_prefixes(self.tensors)
        notes = [self.note, f"without {taken} before the names" if taken else ""]
        return Checkpoint(tensors, ", ".join(filter(None, notes)))


class _Ignored:
    """Stands for an object beside the tensors, such as the arguments of a script. Its class is never imported."""

    def __new__(cls, *args: object, **kwargs: object) -> _Ignored:
        return super().__new__(cls)

    def __init__(self, *args: object, **kwargs: object) -> None:
        """Take what the object would have been made of."""

    def __setstate__(self, state: object) -> None:
        """Take the state that the object would have had."""


def _empty_dict(*_: object) -> dict[Any, Any]:
    return {}


def read_pickled(path: Path) -> Checkpoint:
    """Return the state dict in a file of `torch.save`. Raises BadValue for a damaged file or one without weights."""
    value = _unpickled(path)
    found = next(_state_dicts(value), None)
    if found is None:
        whole = isinstance(value, _Ignored) or (
            isinstance(value, dict) and any(isinstance(value.get(name), _Ignored) for name in _ENTRIES)
        )
        if whole:
            problem = "it holds a whole model as a Python object, which cannot be read without running code"
            raise BadValue(f"--weights {path}", problem, fix=_FIX)
        raise BadValue(f"--weights {path}", "it contains no state_dict (names and tensors)")
    place, tensors = found
    return Checkpoint(tensors, f"from {'/'.join(place)} in the file" if place else "")


def without_prefixes(tensors: Mapping[str, T]) -> tuple[dict[str, T], str]:
    """Return the tensors without the prefixes of wrappers that all of their names have, and these prefixes."""
    found, taken = dict(tensors), ""
    while prefix := next((prefix for prefix in _PREFIXES if found and all(k.startswith(prefix) for k in found)), ""):
        found, taken = {key.removeprefix(prefix): tensor for key, tensor in found.items()}, taken + prefix
    return found, taken


def matching_part(tensors: Mapping[str, Tensor], expected: Collection[str]) -> Checkpoint:
    """Return the tensors that are those of a model, where they stand under a prefix beside tensors of something else.

    expected: names of the model's tensors.  All tensors are returned unless a part of them fits more of the names: a
    Lightning module has tensors of its metrics and losses beside its model, a self-supervised one a second network.
    """
    # A model may have the name of a wrapper before all of its own names.
    if prefix := without_prefixes(dict.fromkeys(expected))[1]:
        return Checkpoint({prefix + key: tensor for key, tensor in tensors.items()})
    best, most = Checkpoint(tensors), len(tensors.keys() & set(expected))
    for prefix in _PREFIXES:
        part = {key.removeprefix(prefix): tensor for key, tensor in tensors.items() if key.startswith(prefix)}
        part, taken = without_prefixes(part)
        names = part.keys() & set(expected)
        if len(names) > most and 2 * len(names) > len(expected):
            note = f"without {prefix}{taken} before the names, and without {len(tensors) - len(part)} other tensors"
            best, most = Checkpoint(part, note), len(names)
    return best


def _unpickled(path: Path) -> Any:
    """Return the content of a file; every class and function that torch does not know stands for nothing."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns about unusual pickles; it only matters if they load
            with safe_globals(_stand_ins(path)):
                return torch.load(path, map_location="cpu", weights_only=True)
    except _UNREADABLE as error:
        # The text of the restricted unpickler is about torch's own switches, for whoever trusts the file.
        reason = "" if isinstance(error, pickle.UnpicklingError) else f" ({short(error)})"
        raise BadValue(f"--weights {path}", f"it cannot be read as weights alone{reason}", fix=_FIX) from None


def _stand_ins(path: Path) -> list[Any]:
    """Return what stands for the classes and functions that a file names and torch does not allow."""
    try:
        names = get_unsafe_globals_in_checkpoint(path)
    except _UNREADABLE:  # of a version before 1.6, or damaged: read without stand-ins, or refused
        return []
    constructors = {"collections.defaultdict": _empty_dict}  # entries are put into it
    return [(constructors.get(name, _Ignored), name) for name in names]


def _state_dicts(value: object, place: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], dict[str, Tensor]]]:
    """Yield every state dict in nested dicts with its place, those of known names first."""
    if not isinstance(value, dict):
        return
    named = {key: entry for key, entry in value.items() if isinstance(key, str)}
    tensors = {key: entry for key, entry in named.items() if isinstance(entry, Tensor)}
    if tensors and not any(isinstance(entry, dict) for entry in named.values()):
        yield place, tensors
        return
    if len(place) < _DEPTH:
        for name in [*(name for name in _ENTRIES if name in named), *(n for n in named if n not in _ENTRIES)]:
            if not any(part in name.lower() for part in _NOT_WEIGHTS):
                yield from _state_dicts(named[name], (*place, name))


def short(error: Exception) -> str:
    """Return the text of an error in one line of at most 200 characters, without the codes of a terminal."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(error))
    return " ".join(text.split())[:200].rstrip(".") or type(error).__name__
