"""Command line of the package: `python -m clearsight_sagemaker`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from clearsight.core.errors import ClearsightError, DiskFull
from clearsight.core.format import replace_unprintable

_MACHINE_ERROR, _USER_ERROR = 1, 2  # the exit codes of `clearsight` itself


def main(words: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code: 0, 2 for a mistake of the user, 1 for a failure of the machine."""
    replace_unprintable()
    parser = argparse.ArgumentParser(
        prog="python -m clearsight_sagemaker",
        description="Write results of clearsight in the formats of Amazon SageMaker.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    summary = "write profiler-report.html and the JSON of each profiler rule for a run"
    report = commands.add_parser("profiler-report", help=summary)
    report.add_argument("run", type=Path, metavar="RUN", help="folder of the run")
    report.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="folder in which profiler-output/ is written"
    )
    arguments = parser.parse_args(words)
    try:
        # Imported here, because numpy and jinja2 take longer to import than --help should take to answer.
        from clearsight_sagemaker.profiler_report import write_profiler_output

        folder = write_profiler_output(arguments.run, arguments.out)
    except ClearsightError as error:
        sentence, code = str(error), _MACHINE_ERROR if isinstance(error, DiskFull) else _USER_ERROR
    except OSError as error:
        file = f"{error.filename}: " if error.filename else ""
        sentence, code = f"{file}{error.strerror or error}.", _USER_ERROR
    else:
        print(folder / "profiler-report.html")
        return 0
    print(f"error: {sentence}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
