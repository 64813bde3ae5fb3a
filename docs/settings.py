"""Print docs/settings.md from the recipe itself: `make docs` writes it, a test compares."""

from __future__ import annotations

from pydantic.fields import FieldInfo

from clearsight.core.recipe import fields
from clearsight.core.settings import choices

HEAD = """# Settings of a recipe

Each is a flag, a YAML key and a keyword argument of the same name (`--weight-decay`, `weight_decay`).
Written by `make docs`.
"""


def page() -> str:
    """The whole page."""
    lines, current = [HEAD], ""
    for section, name, info in fields():
        if section != current:
            current = section
            lines += [
                f"\n## {section}\n",
                "| setting | default | range | usual search | what |",
                "|---|---|---|---|---|",
            ]
        bounds = [f"{sign} {bound}" for mark in info.metadata for sign, bound in limits(mark)]
        extent = " or ".join(choices(info)) or ", ".join(bounds)
        default = "" if info.default in (None, ()) else str(info.default)
        what = (info.description or "").replace("|", chr(92) + "|")
        lines.append(f"| `{name}` | {default} | {extent} | {searched(info)} | {what} |")
    return "\n".join(lines) + "\n"


def searched(info: FieldInfo) -> str:
    """What `clearsight tune --tune NAME` tries of a field; "" where values must be said."""
    extra = info.json_schema_extra
    said = str(extra.get("search", "")) if isinstance(extra, dict) else ""
    return f"`{said}`" if said else "all" if choices(info) else ""


def limits(mark: object) -> list[tuple[str, object]]:
    """Signs and bounds of one annotation."""
    signs = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
    return [(sign, getattr(mark, key)) for key, sign in signs.items() if getattr(mark, key, None) is not None]


if __name__ == "__main__":
    print(page(), end="")
