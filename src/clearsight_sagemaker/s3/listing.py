"""Pages of a listing: objects and common prefixes, in the order of their UTF-8 bytes."""

from __future__ import annotations

from dataclasses import dataclass, field

from clearsight_sagemaker.s3.store import ObjectStore, StoredObject

_MOST = 1000
_LAST = "\U0010ffff"


@dataclass
class ListingPage:
    """A page of a listing. last: key or prefix after which the next page begins, "" for the last page."""

    objects: list[StoredObject] = field(default_factory=list)
    prefixes: list[str] = field(default_factory=list)
    last: str = ""

    @property
    def count(self) -> int:
        """Return the objects and prefixes of the page."""
        return len(self.objects) + len(self.prefixes)


def list_page(store: ObjectStore, bucket: str, *, prefix: str, delimiter: str, after: str, limit: int) -> ListingPage:
    """Return a page of at most `limit` objects and prefixes that come after the key or prefix `after`."""
    store.check_bucket(bucket)
    page, limit = ListingPage(), min(limit, _MOST)
    # Behind a prefix that the page before has listed: all keys in it are passed over.
    skipped = delimiter and after.endswith(delimiter) and after.startswith(prefix) and after != prefix
    place = after + _LAST if skipped else after
    if limit <= 0:
        return page
    while True:
        found = store.after(bucket, prefix, place, limit - page.count + 1)
        if not found:
            return page
        for stored in found:
            if page.count == limit:
                page.last = _last(page)
                return page
            end = stored.key.find(delimiter, len(prefix)) if delimiter else -1
            if end < 0:
                page.objects.append(stored)
                place = stored.key
                continue
            common = stored.key[: end + len(delimiter)]
            page.prefixes.append(common)
            place = common + _LAST
            break  # the next ones may be in the same prefix


def _last(page: ListingPage) -> str:
    keys = [stored.key for stored in page.objects[-1:]]
    return max([*keys, *page.prefixes[-1:]], key=lambda name: name.encode())
