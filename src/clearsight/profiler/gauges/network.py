"""Bytes per second over the network interfaces that lead out of the machine."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from clearsight.profiler.gauges.source import CounterRates, GaugeSource


class NetworkGauges(GaugeSource):
    """Gauges net.received, net.sent: bytes per second, without loopback.

    Where some interfaces have hardware behind them only those count, so that a bridge or a tunnel over them does not
    count twice. In a container, where none has, all of them count.
    Raises LookupError where loopback is the only interface.
    """

    def __init__(self, *, proc: Path = Path("/proc"), sys: Path = Path("/sys")) -> None:
        self._file, self._rates = proc / "net/dev", CounterRates()
        names = {name for name in net_counters(self._file.read_text(encoding="utf-8")) if name != "lo"}
        real = {name for name in names if (sys / "class/net" / name / "device").exists()}
        self._names = frozenset(real or names)
        if not self._names:
            raise LookupError(f"{self._file} lists no network interface but loopback")

    def read(self) -> Mapping[str, float]:
        counters = net_counters(self._file.read_text(encoding="utf-8"))
        present = [pair for name, pair in counters.items() if name in self._names]
        if not present:  # all interfaces were removed
            return {}
        received, sent = (sum(column) for column in zip(*present, strict=True))
        return self._rates.update({"net.received": received, "net.sent": sent})


def net_counters(text: str) -> dict[str, tuple[int, int]]:
    """Return bytes received and sent by interface, from the text of /proc/net/dev. Source: proc_pid_net(5)."""
    lines = re.findall(r"^\s*(\S+):\s*([0-9]+)(?:\s+[0-9]+){7}\s+([0-9]+)", text, flags=re.MULTILINE)
    return {name: (int(received), int(sent)) for name, received, sent in lines}
