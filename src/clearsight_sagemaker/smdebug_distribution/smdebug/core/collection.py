"""Collection: a group of tensors with one schedule."""

from __future__ import annotations

import json
import re
from typing import Any, Iterable, Mapping

from smdebug.core.modes import ModeKeys
from smdebug.core.reduction_config import ReductionConfig
from smdebug.core.save_config import SaveConfig, SaveConfigMode
from smdebug.exceptions import SMDebugTypeError, SMDebugValueError


class CollectionKeys:
    """Names of the collections that smdebug knows."""

    DEFAULT = "default"
    ALL = "all"
    INPUTS = "inputs"
    OUTPUTS = "outputs"
    WEIGHTS = "weights"
    GRADIENTS = "gradients"
    LOSSES = "losses"
    BIASES = "biases"
    LAYERS = "layers"
    SM_METRICS = "sm_metrics"
    OPTIMIZER_VARIABLES = "optimizer_variables"
    TENSORFLOW_SUMMARIES = "tensorflow_summaries"
    METRICS = "metrics"
    HYPERPARAMETERS = "hyperparameters"
    PREDICTIONS = "predictions"
    LABELS = "labels"
    FEATURE_IMPORTANCE = "feature_importance"
    AVERAGE_SHAP = "average_shap"
    FULL_SHAP = "full_shap"
    TREES = "trees"


# Collections of numbers: saved as they are, without reductions and histograms.
SCALAR_COLLECTIONS = frozenset(
    {
        CollectionKeys.LOSSES,
        CollectionKeys.METRICS,
        CollectionKeys.FEATURE_IMPORTANCE,
        CollectionKeys.AVERAGE_SHAP,
        CollectionKeys.SM_METRICS,
        CollectionKeys.TENSORFLOW_SUMMARIES,
    }
)
# Collections that every hook for PyTorch has, with the patterns of their tensors.
PYTORCH_COLLECTIONS: dict[str, tuple[str, ...]] = {
    CollectionKeys.ALL: (),
    CollectionKeys.DEFAULT: (),
    CollectionKeys.WEIGHTS: ("^(?!gradient).*weight",),
    CollectionKeys.BIASES: ("^(?!gradient).*bias",),
    CollectionKeys.GRADIENTS: ("^gradient",),
    CollectionKeys.LOSSES: ("[Ll]oss_(?!input).*output",),
}
# Collections that evaluation and prediction never save.
TRAINING_COLLECTIONS = frozenset({CollectionKeys.GRADIENTS, CollectionKeys.OPTIMIZER_VARIABLES})


class Collection:
    """A group of tensors: those whose name contains a match of a pattern of `include_regex`, and `tensor_names`.

    reduction_config, save_config: None for those of the hook.  save_histogram: write histograms for TensorBoard.
    """

    def __init__(
        self,
        name: str,
        include_regex: list[str] | None = None,
        tensor_names: Iterable[str] | None = None,
        reduction_config: ReductionConfig | None = None,
        save_config: SaveConfig | Mapping[ModeKeys, SaveConfigMode] | None = None,
        save_histogram: bool = True,
    ) -> None:
        self.name = name
        self.include_regex = list(include_regex) if include_regex else []
        self.tensor_names = tensor_names
        self.reduction_config = reduction_config
        self.save_config = save_config
        self.save_histogram = save_histogram
        # Module -> whether its inputs and its outputs belong to the collection.
        self.modules: dict[Any, tuple[bool, bool]] = {}

    @property
    def tensor_names(self) -> set[str]:
        return self._tensor_names

    @tensor_names.setter
    def tensor_names(self, tensor_names: Iterable[str] | None) -> None:
        if tensor_names is not None and not isinstance(tensor_names, (list, set)):
            raise SMDebugTypeError(f"tensor_names={tensor_names!r}: must be a list or a set of names.")
        self._tensor_names = set(tensor_names or ())

    @property
    def reduction_config(self) -> ReductionConfig | None:
        return self._reduction_config

    @reduction_config.setter
    def reduction_config(self, reduction_config: ReductionConfig | None) -> None:
        if reduction_config is not None and not isinstance(reduction_config, ReductionConfig):
            raise SMDebugTypeError(f"reduction_config={reduction_config!r}: must be a ReductionConfig.")
        self._reduction_config = reduction_config

    @property
    def save_config(self) -> SaveConfig | None:
        return self._save_config

    @save_config.setter
    def save_config(self, save_config: SaveConfig | Mapping[ModeKeys, SaveConfigMode] | None) -> None:
        if isinstance(save_config, Mapping):
            save_config = SaveConfig(mode_save_configs=dict(save_config))
        if save_config is not None and not isinstance(save_config, SaveConfig):
            raise SMDebugTypeError(f"save_config={save_config!r}: must be a SaveConfig or a dict of modes.")
        self._save_config = save_config

    def include(self, t: str | list[str]) -> None:
        """Add a pattern, or a list of patterns, of tensor names. Raises SMDebugTypeError."""
        for pattern in t if isinstance(t, list) else [t]:
            if not isinstance(pattern, str):
                raise SMDebugTypeError(f"include({pattern!r}): must be a pattern or a list of patterns.")
            self.include_regex.append(pattern)

    def matches(self, tensor_name: str) -> bool:
        """Return True where a pattern matches anywhere in the name."""
        return any(re.search(pattern, tensor_name) for pattern in self.include_regex)

    def add_module_tensors(self, module: Any, inputs: bool = False, outputs: bool = True) -> None:
        """Add the inputs or the outputs of a module."""
        self.modules[module] = (inputs, outputs)

    def has_tensor_name(self, tname: str) -> bool:
        return tname in self._tensor_names

    def add_tensor_name(self, tname: str) -> None:
        self._tensor_names.add(tname)

    def remove_tensor_name(self, tname: str) -> None:
        self._tensor_names.discard(tname)

    def to_json_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "include_regex": self.include_regex,
            "tensor_names": sorted(self.tensor_names),
            "reduction_config": self.reduction_config.to_json_dict() if self.reduction_config else None,
            "save_config": self.save_config.to_json_dict() if self.save_config else None,
            "save_histogram": self.save_histogram,
        }

    def to_json(self) -> str:
        return json.dumps(self.to_json_dict())

    @classmethod
    def from_dict(cls, params: Mapping[str, Any]) -> Collection:
        if not isinstance(params, Mapping):
            raise SMDebugValueError(f"params={params!r}: must be a dict.")
        return cls(
            name=str(params.get("name")),
            include_regex=params.get("include_regex"),
            tensor_names=set(params.get("tensor_names") or ()),
            reduction_config=ReductionConfig.from_dict(params.get("reduction_config")),
            save_config=SaveConfig.from_dict(params.get("save_config")),
            save_histogram=params.get("save_histogram", True),
        )

    @classmethod
    def from_json(cls, json_str: str) -> Collection:
        return cls.from_dict(json.loads(json_str))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Collection) and self.to_json_dict() == other.to_json_dict()

    def __hash__(self) -> int:
        return hash(self.name)

    def __str__(self) -> str:
        return str(self.to_json_dict())

    def __repr__(self) -> str:
        return f"<class Collection: name={self.name}>"
