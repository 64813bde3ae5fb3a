"""Writes src/clearsight/api/settings.py: the types of all settings as keywords, from their declarations.

python docs/signatures.py > src/clearsight/api/settings.py
"""

from __future__ import annotations

from pydantic.fields import FieldInfo

from clearsight.core.recipe import fields
from clearsight.core.settings import choices, declared, is_duration, is_repeated, meaning, value_types
from clearsight.core.study import StudyPlan

HEAD = '''"""Settings as typed keywords, for editors and type checkers. Written by docs/signatures.py; do not edit."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, TypedDict
'''
# Text that people also write as a number or a path.
_ALSO = {"freeze": "str | int", "weights": "str | Path", "device": "str | int"}


def annotation(name: str, info: FieldInfo) -> str:
    """Return the type that a setting takes as a keyword: its own, and text where a flag takes text."""
    types = value_types(info)
    none = " | None" if info.default is None else ""
    if name in _ALSO:
        return _ALSO[name] + none
    if words := choices(info):
        return f"Literal[{', '.join(f'{chr(34)}{word}{chr(34)}' for word in words)}]{none}"
    if is_duration(info):
        return f"float | str{none}"
    if tuple in types:
        if is_repeated(info):
            return f"Sequence[str] | str{none}"
        item = "int" if "int" in str(info.annotation) else "float"
        return f"Sequence[{item}] | {'int | ' if item == 'int' else ''}str{none}"
    return f"{types[0].__name__}{none}"


def typed_dict(name: str, doc: str, infos: dict[str, FieldInfo], bases: str = "TypedDict, total=False") -> list[str]:
    """Return the lines of a class with a line for each setting."""
    lines = ["", "", f"class {name}({bases}):", f'    """{doc}"""']
    for field, info in infos.items():
        lines += ["", f"    {field}: {annotation(field, info)}", *comment(meaning(info))]
    return lines


def comment(text: str) -> list[str]:
    """Return a help text as the docstring of a field, wrapped at 120 columns."""
    width, lines, line = 112, [], ""
    for word in text.replace('"', "'").split():
        if len(line) + 1 + len(word) > width:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}".strip()
    lines.append(line)
    if len(lines) == 1:
        return [f'    """{lines[0][0].upper()}{lines[0][1:]}."""']
    first, *rest = lines
    return [f'    """{first[0].upper()}{first[1:]}', *(f"    {line}" for line in rest[:-1]), f'    {rest[-1]}."""']


def main() -> None:
    """Print the module."""
    recipe = {name: info for _, name, info in fields()}
    reading = {name: info for section, name, info in fields() if section == "data"}
    plan = {name: info for name, info in declared(StudyPlan).items() if name not in recipe}
    other = {name: info for name, info in recipe.items() if name not in reading}
    print(HEAD + "\n".join(typed_dict("DataSettings", "Settings of the data section of a recipe.", reading)))
    print(
        "\n".join(
            typed_dict("RecipeSettings", "Every setting of a recipe.", other, "DataSettings, TypedDict, total=False")
        )
    )
    plan_doc = "Every setting of a study and of its recipe. `time_limit` is that of the study."
    print("\n".join(typed_dict("TuneSettings", plan_doc, plan, "RecipeSettings, TypedDict, total=False")))


if __name__ == "__main__":
    main()
