"""clearsight completion: scripts that let a shell complete commands, flags and their values."""

from __future__ import annotations

import importlib
from typing import Annotated

import typer
from typer.main import get_command

from clearsight.cli.other_words import flags_of
from clearsight.cli.shared import command_app
from clearsight.core.errors import BadChoice
from clearsight.core.recipe import fields
from clearsight.core.settings import choices, flag, further_flags

EPILOG = """Examples:
  clearsight completion bash > ~/.local/share/bash-completion/completions/clearsight
  clearsight completion zsh > "${fpath[1]}/_clearsight"
  clearsight completion fish > ~/.config/fish/completions/clearsight.fish

Make the folder first if it is not there, and open a new shell afterwards.
"""

# Each asks this command for the words that may come; without an answer the shell completes file names.
SCRIPTS = {
    "bash": """_clearsight() {
    local IFS=$'\\n'
    COMPREPLY=($(clearsight completion words -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
}
complete -o default -F _clearsight clearsight
""",
    "zsh": """#compdef clearsight
_clearsight() {
    local -a found
    found=("${(@f)$(clearsight completion words -- "${(@)words[2,CURRENT]}" 2>/dev/null)}")
    if [[ -n "${found[1]}" ]]; then compadd -a found; else _files; fi
}
compdef _clearsight clearsight
""",
    "fish": """function __clearsight_words
    set -l before (commandline -opc)
    clearsight completion words -- $before[2..] (commandline -ct) 2>/dev/null
end
complete -c clearsight -a '(__clearsight_words)'
""",
}
_WORDS = "words"  # in place of a shell: what the scripts call


def completion(
    shell: Annotated[str, typer.Argument(help="bash, zsh or fish", show_default=False)],
    line: Annotated[list[str] | None, typer.Argument(hidden=True)] = None,
) -> int:
    """Print the script that lets a shell complete clearsight's commands, flags and choices."""
    if shell == _WORDS:
        print(*candidates(line or [""]), sep="\n")
        return 0
    if shell not in SCRIPTS:
        raise BadChoice(f"clearsight completion {shell}", "no such shell", got=shell, allowed=SCRIPTS)
    print(SCRIPTS[shell], end="")
    return 0


def candidates(line: list[str]) -> list[str]:
    """Return the words that may stand in the last place of a command line. line: the words after `clearsight`."""
    from clearsight.cli import all_commands

    commands = all_commands()
    *before, prefix = line
    if not before:
        return [name for name in commands if name.startswith(prefix)]
    if before[0] not in commands or "--" in before:
        return []
    if prefix.startswith("-"):
        flags = flags_of(get_command(importlib.import_module(commands[before[0]][0]).app))
        return sorted(name for name in flags if name.startswith(prefix))
    settings = {
        name: info for _, field, info in fields() for name in (flag(field, info), *further_flags(info))
    }  # --lr and --learning-rate alike
    info = settings.get(before[-1])
    return [word for word in choices(info) if word.startswith(prefix)] if info is not None else []


app = command_app(completion, EPILOG)
