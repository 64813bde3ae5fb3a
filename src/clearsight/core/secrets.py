"""Passwords and tokens in URLs and command lines: what is written, printed or sent has none of them.

A secret is recognised by its place (the user part of a URL, the value of a parameter or flag whose name says it), not
by its looks: a word that only resembles a token may be the name of a file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

HIDDEN = "***"

# The end of the name of a parameter, a flag or a variable: `--db-password`, `?sslpassword=`, `WANDB_API_KEY=`.
_NAMES = (
    r"(?:password|passwd|passphrase|secret|secrets|credentials?|signature|authorization|token|auth|api[-_]?key"
    r"|(?:access|account|private|signing|encryption|license|shared)[-_]?key"
    r"|(?<![A-Za-z])(?:pass|pwd|pw|pat|sig|key))"
)
# Passwords may hold any character, an @ or a slash that nobody encoded too: the last @ ends the user part.
_USER = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*://)(?P<user>[^\s:/?#]*)(?P<secret>:.*)@", re.DOTALL)
_USER_IN_TEXT = re.compile(_USER.pattern.replace(":.*", r":[^ \t\r\n]*"))
_TOKEN_USER = re.compile(
    r"(?P<scheme>(?:https?|wss?)://)(?P<secret>[^\s:/?#@]+)@"
)  # a user without password is a token
_PARAMETER = re.compile(
    rf"(?P<name>[?&;#][\w.-]*?{_NAMES}=)(?!\*\*\*)(?P<secret>[^&#\s]*?)(?=[&#]|[:.,;)]?(?:\s|$))", re.IGNORECASE
)
_ASSIGNMENT = re.compile(rf"(?P<name>-{{0,2}}[\w.-]*?{_NAMES}=)(?P<secret>.+)", re.IGNORECASE | re.DOTALL)
_FLAG = re.compile(rf"--?[\w.-]*?{_NAMES}", re.IGNORECASE)
_HEADER = re.compile(r"(?P<name>\b(?:authorization:\s*(?:\w+\s+)?|bearer\s+))(?P<secret>[^\s'\"]+)", re.IGNORECASE)
# Of an address that receives notices the path is the secret, as with the webhooks of Slack, Discord and Teams.
_NOTICE = re.compile(r"(?P<name>\bnotify:\s*[A-Za-z]+://[^/\s?#]*)(?P<secret>[/?#]\S*)")


def redact(text: str) -> str:
    """Return prose or YAML with `***` for each secret of a URL in it."""
    return _redact(text, _USER_IN_TEXT)


def _redact(text: str, user: re.Pattern[str]) -> str:
    text = user.sub(lambda found: f"{found['scheme']}{found['user']}:{HIDDEN}@", text)
    text = _TOKEN_USER.sub(lambda found: f"{found['scheme']}{HIDDEN}@", text)
    for pattern in (_PARAMETER, _HEADER, _NOTICE):
        text = pattern.sub(lambda found: found["name"] + HIDDEN, text)
    return text


def redact_command(words: Sequence[str]) -> list[str]:
    """Return a command line with `***` for each secret: in URLs, after `--token`, in `--token=...` and `TOKEN=...`."""
    shown: list[str] = []
    hide_next = False
    for word in words:
        is_flag = word.startswith("-")
        if hide_next and not is_flag:
            shown.append(HIDDEN)
        elif assigned := _ASSIGNMENT.fullmatch(word):
            shown.append(assigned["name"] + HIDDEN)
        else:
            shown.append(_redact(word, _USER))  # one word has one URL, with spaces in its password even
        hide_next = is_flag and _FLAG.fullmatch(word) is not None
    return shown


def without_secrets(url: str) -> str:
    """Return a URL that connects to the same place for those who have the password elsewhere: secrets are left out."""
    url = _USER.sub(lambda found: f"{found['scheme']}{found['user']}@", url)
    head, mark, query = url.partition("?")
    query, fragment_mark, fragment = query.partition("#")
    harmless = [part for part in query.split("&") if not _PARAMETER.match(f"?{part}")]
    return head + (mark if query and harmless else "") + "&".join(harmless) + fragment_mark + fragment


def secrets_in(url: str) -> Iterator[str]:
    """Yield the secret texts of a URL, and the parts of a password that a reader of URLs may take for a host."""
    for pattern in (_USER, _TOKEN_USER, _PARAMETER):
        for found in pattern.finditer(url):
            secret = found["secret"].removeprefix(":")
            yield from (part for part in re.split(r"[@/:?#]", secret) if len(part) > 2)
            if len(secret) > 1:  # one letter is in every sentence
                yield secret


def hide(text: str, url: str) -> str:
    """Return the words of somebody else about a URL, such as the error of a driver, without the URL's secrets."""
    for secret in sorted(set(secrets_in(url)), key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    return redact(text)
