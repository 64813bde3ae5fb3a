"""Network: bytes per second over the interfaces that lead out of the machine."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from clearsight.profiler.gauges.rates import Rates


class NetworkGauges:
    """net.received, net.sent: bytes per second. Loopback is left out.

    Where interfaces have hardware behind them only those count, so that a bridge or a tunnel over them is not counted
    twice; inside of a container, where none has, all do.
    """

    def __init__(self, *, proc: Path = Path("/proc"), sys: Path = Path("/sys")) -> None:
        self._file, self._rates = proc / "net/dev", Rates()
        names = {name for name in net_counters(self._file.read_text(encoding="utf-8")) if name != "lo"}
        real = {name for name in names if (sys / "class/net" / name / "device").exists()}
        self._names = frozenset(real or names)
        if not self._names:
            raise LookupError("no network interface but loopback")

    def read(self) -> Mapping[str, float]:
        told = net_counters(self._file.read_text(encoding="utf-8"))
        counted = [counters for name, counters in told.items() if name in self._names]
        if not counted:
            return {}
        received, sent = (sum(column) for column in zip(*counted, strict=True))
        return self._rates.since({"net.received": received, "net.sent": sent})

    def close(self) -> None:
        """Nothing is held."""


def net_counters(text: str) -> dict[str, tuple[int, int]]:
    """Bytes received and sent by interface, out of /proc/net/dev. Source: proc_pid_net(5)."""
    lines = re.findall(r"^\s*(\S+):\s*([0-9]+)(?:\s+[0-9]+){7}\s+([0-9]+)", text, flags=re.MULTILINE)
    return {name: (int(received), int(sent)) for name, received, sent in lines}
