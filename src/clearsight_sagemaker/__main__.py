"""`python -m clearsight_sagemaker`: the commands of `clearsight sagemaker` without the rest of clearsight."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from clearsight.core.errors import NOT_MISTAKES, ClearsightError
from clearsight.core.format import replace_unprintable
from clearsight.core.safe_text import printable_line

_MACHINE_ERROR, _USER_ERROR, _STOPPED = 1, 2, 130  # the exit codes of `clearsight` itself


def main(words: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code: 0, 2 for a mistake of the user, 1 for a failure of the machine."""
    replace_unprintable()
    from typer import Abort, Exit, TyperException
    from typer.main import get_command

    from clearsight_sagemaker.cli.commands import app

    arguments = list(sys.argv[1:] if words is None else words)
    try:
        # Not standalone: typer would write errors in a form of its own.
        result = get_command(app).main(arguments, prog_name="python -m clearsight_sagemaker", standalone_mode=False)
    except Exit as end:
        return int(end.exit_code)
    except (Abort, KeyboardInterrupt):
        return _fail("stopped", _STOPPED)
    except TyperException as error:
        return _fail(f"{error.format_message().rstrip('.')}. Try --help.", _USER_ERROR)
    except ClearsightError as error:
        return _fail(str(error), _MACHINE_ERROR if isinstance(error, NOT_MISTAKES) else _USER_ERROR)
    except OSError as error:
        file = f"{error.filename}: " if error.filename else ""
        return _fail(f"{file}{error.strerror or error}.", _USER_ERROR)
    return result if isinstance(result, int) else 0


def _fail(sentence: str, code: int) -> int:
    print(f"error: {printable_line(sentence)}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
