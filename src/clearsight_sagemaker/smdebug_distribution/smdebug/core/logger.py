"""Logger of smdebug: one line per message on standard output, each text at most three times.

SMDEBUG_LOG_LEVEL is the level (`info` by default, `off` for none), SMDEBUG_LOG_PATH a file that gets the lines too.
"""

from __future__ import annotations

import logging
import os
import sys
from collections import Counter

_LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "critical": logging.CRITICAL,
}
_MAX_REPEATS = 3
_FORMAT = "[%(asctime)s.%(msecs)03d smdebug %(levelname)s %(filename)s:%(lineno)d] %(message)s"


class RepeatFilter(logging.Filter):
    """Lets each text through at most three times: hooks run at every step."""

    def __init__(self) -> None:
        super().__init__()
        self._counts: Counter[str] = Counter()

    def filter(self, record: logging.LogRecord) -> bool:
        self._counts[str(record.msg)] += 1
        return self._counts[str(record.msg)] <= _MAX_REPEATS


class StandardOutputHandler(logging.StreamHandler):  # type: ignore[type-arg]
    """Writes to what `sys.stdout` is at that moment: notebooks replace it."""

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stdout
        super().emit(record)


def get_logger(name: str = "smdebug") -> logging.Logger:
    """Return the logger; the first call configures it."""
    logger = logging.getLogger(name)
    if any(isinstance(item, RepeatFilter) for item in logger.filters):
        return logger
    level = os.environ.get("SMDEBUG_LOG_LEVEL", "info").lower()
    handlers: list[logging.Handler] = [StandardOutputHandler(sys.stdout)]
    if os.environ.get("SMDEBUG_LOG_PATH"):
        handlers.append(logging.FileHandler(os.environ["SMDEBUG_LOG_PATH"]))
    for handler in handlers:
        handler.setFormatter(logging.Formatter(_FORMAT, "%Y-%m-%d %H:%M:%S"))
        logger.addHandler(handler)
    logger.addFilter(RepeatFilter())
    logger.setLevel(_LEVELS.get(level, logging.INFO))
    logger.disabled = level == "off"
    logger.propagate = False  # scripts log to the root as well: each line would come twice
    return logger
