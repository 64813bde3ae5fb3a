"""Let a client program connect to loopback alone: what it sends to any other host is an error of the program."""

from __future__ import annotations

import os
import socket
from typing import Any

_connect, _lookup = socket.socket.connect, socket.getaddrinfo


def _refuse(host: Any) -> None:
    if host not in (None, "", "127.0.0.1", "::1", "localhost"):
        with open(os.environ["CLEARSIGHT_TEST_HOSTS"], "a") as file:  # a program may hide the error
            file.write(f"{host}\n")
        raise AssertionError(f"the program tried to reach {host}")


def connect(self: socket.socket, address: Any) -> None:
    """Connect to loopback, or to a socket of this machine."""
    if self.family in (socket.AF_INET, socket.AF_INET6):
        _refuse(address[0])
    _connect(self, address)


def getaddrinfo(host: Any, *values: Any, **named: Any) -> Any:
    """Look up loopback."""
    _refuse(host)
    return _lookup(host, *values, **named)


socket.socket.connect = connect  # type: ignore[method-assign,assignment]
socket.getaddrinfo = getaddrinfo
