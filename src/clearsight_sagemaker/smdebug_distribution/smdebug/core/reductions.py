"""Reductions: numbers that stand for a tensor, and the names under which the files hold them."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from smdebug.core.reduction_config import ALLOWED_NORMS, ALLOWED_REDUCTIONS
from smdebug.exceptions import SMDebugValueError

REDUCTIONS_PREFIX = "smdebug/reductions/"


def get_numpy_reduction(reduction_name: str, numpy_data: Any, abs: bool = False) -> Any:
    """Return a reduction of an array of any shape. std and variance divide by the number of elements.

    Raises SMDebugValueError for an unknown name.
    """
    values = np.absolute(numpy_data) if abs else np.asarray(numpy_data)
    if reduction_name in ALLOWED_NORMS:
        # The norm of the flattened array, as torch computes it when a tensor is saved.
        return np.linalg.norm(values.reshape(-1), ord=int(reduction_name[1]))
    if reduction_name not in ALLOWED_REDUCTIONS:
        allowed = ", ".join([*ALLOWED_REDUCTIONS, *ALLOWED_NORMS])
        raise SMDebugValueError(f"reduction {reduction_name!r}: not one of {allowed}.")
    return getattr(np, "var" if reduction_name == "variance" else reduction_name)(values)


def get_reduction_tensor_name(tensorname: str, reduction_name: str, abs: bool) -> str:
    """Return the name of a reduction: `smdebug/reductions/abs_mean/conv1.weight`."""
    plain = re.sub(r":\d+", "", tensorname)
    return f"{REDUCTIONS_PREFIX}{'abs_' if abs else ''}{reduction_name}/{plain}"


def reverse_reduction_tensor_name(reduction_tensor_name: str) -> tuple[str, str, bool]:
    """Return tensor name, reduction, and True for absolutes, of the name of a reduction."""
    name, _, tensor_name = reduction_tensor_name[len(REDUCTIONS_PREFIX) :].partition("/")
    is_abs = name.startswith("abs_")
    return tensor_name, name[len("abs_") :] if is_abs else name, is_abs
