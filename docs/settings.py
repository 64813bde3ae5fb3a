"""Print docs/settings.md from the declarations in core: `make docs` writes it, a test compares."""

from __future__ import annotations

from pydantic.fields import FieldInfo

from clearsight.core.recipe import fields
from clearsight.core.settings import choices, declared, flag, range_text, search_values
from clearsight.core.study import StudyPlan

RECIPE = """# Settings

Written by `make docs` from the declarations in the source.

## Settings of a recipe

Each setting is a flag, a YAML key and a keyword argument of the same name (`--weight-decay`, `weight_decay`). A setting
without a default is unset; its description says what happens then. "Usual search" has the values that
`clearsight tune --tune NAME` tries.
"""

STUDY = """
## Settings of a study

Each setting is a flag of `clearsight tune` and a keyword argument of `clearsight.tune`. A study that is continued with
`--resume` keeps `searcher`, `warm_start` and `storage`; the others may change. A URL with a password is given again.

| setting | flag | default | range | what |
|---|---|---|---|---|
"""


def page() -> str:
    """Return the whole page."""
    lines, current = [RECIPE], ""
    for section, name, info in fields():
        if section != current:
            current = section
            lines += [
                f"\n### {section}\n",
                "| setting | default | range | usual search | what |",
                "|---|---|---|---|---|",
            ]
        lines.append(f"| `{name}` | {default(info)} | {extent(info)} | {searched(info)} | {what(info)} |")
    rows = [
        f"| `{name}` | `{flag(name, info)}` | {default(info)} | {extent(info)} | {what(info)} |"
        for name, info in declared(StudyPlan).items()
    ]
    return "\n".join(lines) + "\n" + STUDY + "\n".join(rows) + "\n"


def default(info: FieldInfo) -> str:
    """Return the default of a setting; "" if it is unset."""
    return "" if info.default in (None, (), "") else str(info.default)


def extent(info: FieldInfo) -> str:
    """Return the allowed words of a setting, or its range."""
    return " or ".join(choices(info)) or range_text(info)


def searched(info: FieldInfo) -> str:
    """Return the values that a study tries when only the setting is named; "" if it needs values."""
    return "all" if choices(info) else f"`{values}`" if (values := search_values(info)) else ""


def what(info: FieldInfo) -> str:
    """Return the help of a setting, as a cell of a table."""
    return (info.description or "").replace("|", chr(92) + "|")


if __name__ == "__main__":
    print(page(), end="")
