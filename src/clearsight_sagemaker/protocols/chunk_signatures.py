"""ChunkSignatures: signatures of version 4 of the chunks of a body, each of which depends on the one before."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping

_NOTHING = hashlib.sha256(b"").hexdigest()


class ChunkSignatures:
    """Signatures of one body, checked in the order of its chunks.

    key: derived for the scope.  moment, scope: of the request.  signature: of its header, where the chain begins.
    has_trailer: the headers after the last chunk are signed too.
    """

    def __init__(self, *, key: bytes, moment: str, scope: str, signature: str, has_trailer: bool) -> None:
        self._key, self._moment, self._scope, self._previous = key, moment, scope, signature
        self.has_trailer = has_trailer

    def accepts(self, signature: str, digest: str) -> bool:
        """Return True for the signature of the next chunk. digest: SHA-256 of its data, hexadecimal."""
        return self._accepts(signature, "AWS4-HMAC-SHA256-PAYLOAD", _NOTHING, digest)

    def accepts_trailer(self, trailers: Mapping[str, str]) -> bool:
        """Return True where the headers after the last chunk are signed, as the last of them says."""
        name = "x-amz-trailer-signature"
        text = "".join(f"{key}:{value}\n" for key, value in trailers.items() if key not in ("", name))
        digest = hashlib.sha256(text.encode("latin-1")).hexdigest()
        return self._accepts(trailers.get(name, ""), "AWS4-HMAC-SHA256-TRAILER", digest)

    def _accepts(self, signature: str, algorithm: str, *digests: str) -> bool:
        text = "\n".join([algorithm, self._moment, self._scope, self._previous, *digests])
        self._previous = hmac.new(self._key, text.encode(), hashlib.sha256).hexdigest()
        return hmac.compare_digest(self._previous.encode(), signature.encode())
