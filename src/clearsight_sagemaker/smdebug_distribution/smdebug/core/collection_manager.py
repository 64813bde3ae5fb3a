"""CollectionManager: the collections of a hook or of a trial, by name. The name is smdebug's."""

from __future__ import annotations

import json
from typing import Any

from smdebug.core.collection import PYTORCH_COLLECTIONS, Collection
from smdebug.exceptions import CorruptFile, SMDebugError, SMDebugTypeError


class CollectionManager:
    """Collections by name, and the number of workers that write them.

    create_default: start with the collections of PyTorch: losses, weights, biases, gradients, all, default.
    """

    def __init__(self, create_default: bool = True) -> None:
        self.collections: dict[str, Collection] = {}
        self._num_workers = 1
        if create_default:
            for name, patterns in PYTORCH_COLLECTIONS.items():
                self.collections[name] = Collection(name, include_regex=list(patterns))

    def add(self, arg: str | Collection) -> None:
        """Add a collection; one of the same name is replaced. A name adds an empty collection."""
        if isinstance(arg, Collection):
            self.collections[arg.name] = arg
        elif isinstance(arg, str):
            self.get(arg)
        else:
            raise SMDebugTypeError(f"collection={arg!r}: must be a Collection or a name.")

    def get(self, name: str, create: bool = True) -> Collection:
        """Return a collection; an unknown name creates it, or raises SMDebugError where `create` is False."""
        if name not in self.collections:
            if not create:
                raise SMDebugError(f"Collection {name} has not been created")
            self.collections[name] = Collection(name)
        return self.collections[name]

    def get_collections(self) -> dict[str, Collection]:
        return self.collections

    def get_num_workers(self) -> int:
        return self._num_workers

    def set_num_workers(self, num_workers: int) -> None:
        self._num_workers = int(num_workers)

    def to_json_dict(self) -> dict[str, Any]:
        collections = {name: collection.to_json_dict() for name, collection in self.collections.items()}
        return {"collections": collections, "_meta": {"num_workers": self._num_workers}}

    def to_json(self) -> str:
        return json.dumps(self.to_json_dict())

    @classmethod
    def load_from_string(cls, s: str) -> CollectionManager:
        """Return the collections of a file's text. Raises CorruptFile."""
        try:
            content = json.loads(s)
            manager = cls(create_default=False)
            for params in content["collections"].values():
                manager.add(Collection.from_dict(params))
            manager.set_num_workers(content["_meta"]["num_workers"])
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise CorruptFile(f"collections: the file is not one that smdebug writes ({error}).") from None
        return manager

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CollectionManager) and self.collections == other.collections

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<class CollectionManager: collection_names={list(self.collections)}>"
