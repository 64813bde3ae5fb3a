"""Servers of pretrained weights: asked once before a download, so that a machine without a network does not wait.

The hub's own client asks for a file eleven times, in about a minute, and logs each failure. Here one request decides.
"""

from __future__ import annotations

import logging
import ssl
import threading
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from email.message import Message
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

PROBE_SECONDS = 2.0  # for everything: name, proxy, connection, response

_GATEWAY_ERRORS = (502, 503, 504)  # of a proxy that reaches nothing, or of a server that is down
_CLIENTS = ("huggingface_hub", "httpx", "timm")  # loggers that report every attempt


class HubUnreachable(OSError):
    """A server of pretrained weights that does not answer. The text names the server and the reason."""


def check_reachable(url: str, seconds: float = PROBE_SECONDS) -> None:
    """Return if the server of `url` answers a HEAD request, with whatever status.

    The proxies of the environment are used (HTTPS_PROXY, NO_PROXY, ...).
    Raises HubUnreachable after at most `seconds`.
    """
    parts = urlsplit(url)
    answer: list[str] = []

    def ask() -> None:
        answer.append(_failure(f"{parts.scheme}://{parts.netloc}/", seconds))

    # In a thread: looking up a name has no time limit of its own. A daemon, so that the process can end meanwhile.
    thread = threading.Thread(target=ask, name="clearsight-hub-probe", daemon=True)
    thread.start()
    thread.join(seconds)
    failure = answer[0] if answer else f"no answer within {seconds:g} s"
    if failure:
        raise HubUnreachable(f"{parts.netloc} cannot be reached: {failure}")


def check_hugging_face(repositories: Iterable[str] = ()) -> None:
    """Return if the Hugging Face hub answers and may be asked, or if its cache has one of `repositories`.

    Raises HubUnreachable.
    """
    from huggingface_hub import constants

    cache = Path(constants.HF_HUB_CACHE)
    if any((cache / f"models--{repository.replace('/', '--')}").is_dir() for repository in repositories):
        return
    if constants.is_offline_mode():
        raise HubUnreachable("HF_HUB_OFFLINE is set, and the weights are not in the cache of the hub")
    check_reachable(constants.ENDPOINT)


@contextmanager
def quiet_clients() -> Iterator[None]:
    """Keep the hub's clients from logging their attempts within the block; what fails is raised all the same."""
    loggers = [logging.getLogger(name) for name in _CLIENTS]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Takes a redirect for an answer: another server need not be asked as well."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Message, newurl: str
    ) -> None:
        return None


def _failure(url: str, seconds: float) -> str:
    """Return why the server of `url` cannot be reached, "" if it answers."""
    request = urllib.request.Request(url, method="HEAD")
    try:
        with urllib.request.build_opener(_NoRedirect).open(request, timeout=seconds):
            return ""
    except urllib.error.HTTPError as error:
        with error:  # it holds the connection
            return f"HTTP {error.code}" if error.code in _GATEWAY_ERRORS else ""
    except urllib.error.URLError as error:
        # The client of the download may know a certificate that Python does not: something answers, let it try.
        if isinstance(error.reason, ssl.SSLCertVerificationError):
            return ""
        reason = error.reason
        return f"{(reason.strerror or reason) if isinstance(reason, OSError) else reason}"
    except TimeoutError:
        return f"no answer within {seconds:g} s"
    except (OSError, ValueError) as error:  # a reset while reading; a URL that is none
        return str(error) or type(error).__name__
