"""`python -m clearsight_sagemaker`: the outbuilding's door."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from clearsight.core.errors import ClearsightError, DiskFull

_OURS, _USERS = 1, 2


def main(words: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code: 0, 2 for a mistake of the user's, 1 for what the machine could not do."""
    asked = _parser().parse_args(words)
    try:
        from clearsight_sagemaker.profiler_report import write_profiler_output

        folder = write_profiler_output(asked.run, asked.out)
    except ClearsightError as error:
        return _fail(str(error), _OURS if isinstance(error, DiskFull) else _USERS)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return _fail(f"{where}{error.strerror or error}.", _USERS)
    print(folder / "profiler-report.html")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m clearsight_sagemaker", description="Results of clearsight in the shapes of Amazon SageMaker."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    report = commands.add_parser(
        "profiler-report", help="write profiler-report.html and the JSON of each profiler rule for a run"
    )
    report.add_argument("run", type=Path, metavar="RUN", help="folder of the run")
    report.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder that gets profiler-output/")
    return parser


def _fail(sentence: str, code: int) -> int:
    print(f"error: {sentence}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
