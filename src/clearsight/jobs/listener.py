"""Listening socket that the supervisor keeps for a job: while its process is started again, connections wait.

The descriptor is handed on as its number in an environment variable, as systemd does in its socket activation
(sd_listen_fds(3)).
"""

from __future__ import annotations

import socket
from collections.abc import Mapping

LISTENER = "CLEARSIGHT_LISTENER"  # variable with the number of the descriptor
_WAITING = 1024  # connections that wait to be accepted


def listening_socket(host: str, port: int) -> socket.socket:
    """Return a listening TCP socket. host: a name or an IPv4 or IPv6 address.  port: 0 for any free one.

    Raises OSError where the address is taken or of another machine.
    """
    # asyncio sends small pieces at once where the protocol is named; an answer waits 40 ms otherwise.
    listener = socket.socket(_family(host), socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(_WAITING)
    except OSError:
        listener.close()
        raise
    return listener


def inherited_listener(environment: Mapping[str, str], host: str) -> socket.socket | None:
    """Return the socket that the supervisor keeps for this process; None where it keeps none.

    environment: of this process.  host: that the job asked to be listened on.
    """
    number = environment.get(LISTENER, "")
    if not number:
        return None
    listener = socket.socket(_family(host), socket.SOCK_STREAM, socket.IPPROTO_TCP, fileno=int(number))
    listener.set_inheritable(False)
    return listener


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET
