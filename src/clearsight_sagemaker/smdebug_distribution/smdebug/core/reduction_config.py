"""ReductionConfig: the numbers that are saved of a tensor in place of its elements."""

from __future__ import annotations

import json
from typing import Any, Mapping, Sequence

from smdebug.exceptions import SMDebugValueError

ALLOWED_REDUCTIONS = ["min", "max", "mean", "std", "variance", "sum", "prod"]
ALLOWED_NORMS = ["l1", "l2"]


class ReductionConfig:
    """Reductions and norms, of the values and of their absolutes.

    reductions, abs_reductions: of min, max, mean, std, variance, sum, prod.  norms, abs_norms: of l1, l2.
    save_raw_tensor: save the elements too.  save_shape: save the shape.  Raises SMDebugValueError.
    """

    def __init__(
        self,
        reductions: Sequence[str] | None = None,
        abs_reductions: Sequence[str] | None = None,
        norms: Sequence[str] | None = None,
        abs_norms: Sequence[str] | None = None,
        save_raw_tensor: bool = False,
        save_shape: bool = False,
    ) -> None:
        self.reductions = _checked("reductions", reductions, ALLOWED_REDUCTIONS)
        self.abs_reductions = _checked("abs_reductions", abs_reductions, ALLOWED_REDUCTIONS)
        self.norms = _checked("norms", norms, ALLOWED_NORMS)
        self.abs_norms = _checked("abs_norms", abs_norms, ALLOWED_NORMS)
        for name, value in (("save_raw_tensor", save_raw_tensor), ("save_shape", save_shape)):
            if not isinstance(value, bool):
                raise SMDebugValueError(f"{name}={value!r}: must be True or False.")
        self.save_raw_tensor, self.save_shape = save_raw_tensor, save_shape

    def pairs(self) -> list[tuple[str, bool]]:
        """Return each name with True where it is of the absolutes, in the order of writing."""
        plain = [(name, False) for name in (*self.reductions, *self.norms)]
        return plain + [(name, True) for name in (*self.abs_reductions, *self.abs_norms)]

    def to_json_dict(self) -> dict[str, Any]:
        names = [
            *self.reductions,
            *(f"{name}_norm" for name in self.norms),
            *(f"abs_{name}" for name in self.abs_reductions),
            *(f"abs_{name}_norm" for name in self.abs_norms),
        ]
        return {
            "save_raw_tensor": self.save_raw_tensor,
            "reductions": ",".join(names),
            "save_shape": self.save_shape,
        }

    def to_json(self) -> str:
        return json.dumps(self.to_json_dict())

    @classmethod
    def from_dict(cls, params: Mapping[str, Any] | None) -> ReductionConfig | None:
        """Return the reductions of a flat dict, such as {"reductions": "mean,abs_max,l2_norm"}. None stays None."""
        if params is None:
            return None
        if not isinstance(params, Mapping):
            raise SMDebugValueError(f"params={params!r}: must be a dict.")
        lists: dict[tuple[bool, bool], list[str]] = {
            (is_abs, is_norm): [] for is_abs in (False, True) for is_norm in (False, True)
        }
        for name in filter(None, (part.strip() for part in str(params.get("reductions", "")).split(","))):
            is_abs, is_norm = name.startswith("abs_"), name.endswith("_norm")
            plain = name[len("abs_") :] if is_abs else name
            lists[is_abs, is_norm].append(plain[: -len("_norm")] if is_norm else plain)
        return cls(
            reductions=lists[False, False],
            abs_reductions=lists[True, False],
            norms=lists[False, True],
            abs_norms=lists[True, True],
            save_raw_tensor=parse_bool("save_raw_tensor", params.get("save_raw_tensor", False)),
            save_shape=parse_bool("save_shape", params.get("save_shape", False)),
        )

    @classmethod
    def from_json(cls, json_str: str) -> ReductionConfig | None:
        return cls.from_dict(json.loads(json_str))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ReductionConfig) and self.to_json_dict() == other.to_json_dict()

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<class ReductionConfig: {self.to_json_dict()}>"


def parse_bool(name: str, value: Any) -> bool:
    """Return the truth value of True, "True", "true" and so on: job configurations hold strings alone."""
    text = str(value).strip().lower()
    if text not in ("true", "false"):
        raise SMDebugValueError(f"{name}={value!r}: must be True or False.")
    return text == "true"


def _checked(parameter: str, names: Sequence[str] | None, allowed: Sequence[str]) -> list[str]:
    unknown = [name for name in names or () if name not in allowed]
    if unknown:
        raise SMDebugValueError(f"{parameter}: {unknown[0]!r} is not one of {', '.join(allowed)}.")
    return list(names or ())
