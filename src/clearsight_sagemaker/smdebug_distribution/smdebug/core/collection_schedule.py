"""CollectionSchedule: which collections, and which tensors of them, are saved at a step."""

from __future__ import annotations

from typing import Sequence

from smdebug.core.collection import (
    PYTORCH_COLLECTIONS,
    SCALAR_COLLECTIONS,
    TRAINING_COLLECTIONS,
    Collection,
    CollectionKeys,
)
from smdebug.core.collection_manager import CollectionManager
from smdebug.core.modes import ModeKeys
from smdebug.core.reduction_config import ReductionConfig
from smdebug.core.save_config import SaveConfig
from smdebug.exceptions import InvalidCollectionConfiguration


class CollectionSchedule:
    """Applies the configuration of the hook to its collections.

    included: names of the saved collections; `all` saves every collection. A collection without a schedule or
    reductions gets those of the hook. Collections may be added until `prepare`, at the first forward pass.
    """

    def __init__(
        self,
        collections: CollectionManager,
        included: Sequence[str],
        save_config: SaveConfig,
        reduction_config: ReductionConfig,
    ) -> None:
        self.collections, self.included = collections, list(included)
        self.save_config, self.reduction_config = save_config, reduction_config
        self.prepared = False
        self._saved: list[Collection] = []
        self._by_tensor: dict[str, list[Collection]] = {}
        self._due: tuple[ModeKeys, int, list[Collection]] | None = None

    def prepare(self) -> None:
        """Fill in what collections leave out. Raises InvalidCollectionConfiguration."""
        for name, collection in self.collections.get_collections().items():
            is_empty = not (collection.include_regex or collection.tensor_names)
            if name not in PYTORCH_COLLECTIONS and is_empty:
                raise InvalidCollectionConfiguration(name)
            saves_all = CollectionKeys.ALL in self.included
            if collection not in self._saved and (saves_all or name in self.included):
                self._saved.append(collection)
            if name in SCALAR_COLLECTIONS:
                collection.save_histogram = False
                collection.reduction_config = ReductionConfig(save_raw_tensor=True)
            elif collection.reduction_config is None:
                collection.reduction_config = self.reduction_config
            if collection.save_config is None:
                collection.save_config = self.save_config
            else:
                collection.save_config.merge_default_save_config(self.save_config)
        self.prepared = True

    def saved(self) -> list[Collection]:
        """Return the saved collections. Raises InvalidCollectionConfiguration before `prepare`."""
        if not self.prepared:
            raise InvalidCollectionConfiguration("(all): nothing has prepared the collections yet, so none")
        return self._saved

    def due(self, mode: ModeKeys, mode_step: int) -> list[Collection]:
        """Return the collections that are saved at a step."""
        if self._due is None or self._due[:2] != (mode, mode_step):
            trains = mode not in (ModeKeys.EVAL, ModeKeys.PREDICT)
            due = [
                collection
                for collection in self.saved()
                if (trains or collection.name not in TRAINING_COLLECTIONS)
                and collection.save_config is not None
                and collection.save_config.should_save_step(mode, mode_step)
            ]
            self._due = (mode, mode_step, due)
        return self._due[2]

    def due_with_tensor(self, tensor_name: str, mode: ModeKeys, mode_step: int) -> list[Collection]:
        """Return the collections of a step that have a tensor of that name."""
        if tensor_name not in self._by_tensor:
            matching = [item for item in self.saved() if item.has_tensor_name(tensor_name) or item.matches(tensor_name)]
            for collection in matching:
                collection.add_tensor_name(tensor_name)
            self._by_tensor[tensor_name] = matching
        due = self.due(mode, mode_step)
        return [collection for collection in self._by_tensor[tensor_name] if collection in due]
