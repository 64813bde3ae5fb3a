"""The documentation names every command, flag, setting, rule and registered name, and no other ones."""

from __future__ import annotations

import importlib
import re
import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from clearsight.cli import COMMANDS
from clearsight.core.recipe import Recipe, fields
from clearsight.core.settings import declared, flag, value_types
from clearsight.core.study import StudyPlan

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
TEXT = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)


def read(page: str) -> str:
    return (ROOT / "docs" / page).read_text(encoding="utf-8")


def commands() -> Iterator[tuple[str, Any]]:
    """Yield the words and the parser of every command, and of its subcommands."""
    # That of the package beside clearsight is there where it is installed with its entry point.
    for name, (module, _) in {**COMMANDS, "sagemaker": ("clearsight_sagemaker.cli.commands", "")}.items():
        command = typer.main.get_command(importlib.import_module(module).app)
        yield f"clearsight {name}", command
        for subcommand, parser in getattr(command, "commands", {}).items():
            if not parser.hidden and subcommand != "rules":  # `debug RUN` is short for `debug rules RUN`
                yield f"clearsight {name} {subcommand}", parser


def test_every_command_is_documented() -> None:
    assert [words for words, _ in commands() if words not in TEXT] == []


def test_every_flag_is_documented() -> None:
    settings = {flag(name, info) for _, name, info in fields()}
    settings |= {flag(name, info) for name, info in declared(StudyPlan).items()}  # on the page of settings by name
    missing = []
    for words, parser in commands():
        for parameter in parser.params:
            flags = [option for option in parameter.opts if option.startswith("--")]
            named = [option for option in flags if re.search(rf"{option}(?![\w-])", TEXT)]
            if flags and not named and settings.isdisjoint(flags):
                missing.append((words, flags))
    assert missing == []


def test_every_setting_is_on_the_settings_page() -> None:
    page, study = read("settings.md").split("## Settings of a study")
    assert [name for _, name, _ in fields() if f"| `{name}` |" not in page] == []
    assert [
        name for name, info in declared(StudyPlan).items() if f"| `{name}` | `{flag(name, info)}` |" not in study
    ] == []


def test_every_rule_and_its_parameters_are_on_the_rules_page() -> None:
    from clearsight.workflow.run.rules import ALL_RULES

    sections = {text.partition("\n")[0]: text for text in read("rules.md").split("\n## ")}
    assert [name for name in ALL_RULES.names() if name not in sections] == []
    parameters = [(rule, name) for rule, kind in ALL_RULES for name in kind.model_fields]
    assert [(rule, name) for rule, name in parameters if f"`{name}`" not in sections[rule]] == []


def test_every_format_media_type_and_status_is_on_its_page() -> None:
    from clearsight.data.readers import READERS
    from clearsight.serving.codecs import ACCEPTS, CODECS
    from clearsight.serving.error_responses import STATUSES

    assert [name for name in READERS.names() if f"| `{name}` |" not in read("data.md")] == []
    names = [
        name for name in (*CODECS.names(), *ACCEPTS.names()) if name != "image/jpg"
    ]  # a common misspelling of jpeg
    assert [name for name in names if f"`{name}`" not in read("serve.md")] == []
    assert [status for status in STATUSES.values() if f"| {status} |" not in read("serve.md")] == []


def test_settings_page_is_the_recipe() -> None:
    page = runpy.run_path(str(ROOT / "docs" / "settings.py"))["page"]()
    assert (ROOT / "docs" / "settings.md").read_text(encoding="utf-8") == page, "run: make docs"


def test_rules_page_is_the_rules() -> None:
    page = runpy.run_path(str(ROOT / "docs" / "rules.py"))["page"]()
    assert (ROOT / "docs" / "rules.md").read_text(encoding="utf-8") == page, "run: make docs"


def test_glossary_lists_every_class_with_its_meaning() -> None:
    page = runpy.run_path(str(ROOT / "docs" / "terms.py"))["page"]()
    assert (ROOT / "docs" / "terms.md").read_text(encoding="utf-8") == page, "run: make docs"
    assert re.findall(r"^\| `(\w+)` \| `[\w.]+` \|  \|$", page, flags=re.MULTILINE) == [], "classes without a docstring"


def test_every_registered_name_is_documented() -> None:
    from clearsight.data.readers import READERS
    from clearsight.serving.codecs import ACCEPTS, CODECS
    from clearsight.serving.runtimes import RUNTIMES
    from clearsight.tuning.executors import EXECUTORS
    from clearsight.tuning.pruners import PRUNERS
    from clearsight.tuning.searchers import SEARCHERS

    tuning = {f"`{name}`" for name in (*SEARCHERS.names(), *PRUNERS)} | {
        f"--on {n}" for n in EXECUTORS.names() if n != "local"
    }
    assert sorted(name for name in tuning if name not in TEXT) == []
    names = [*READERS.names(), *RUNTIMES.names(), *ACCEPTS.names(), *(n for n in CODECS.names() if n != "image/jpg")]
    assert [name for name in names if name not in TEXT] == []


def test_every_flag_that_is_named_exists() -> None:
    flags = {flag(name, info) for _, name, info in fields()}
    flags |= {flag(name, info) for name, info in declared(StudyPlan).items()}
    flags |= {f"--no-{name.replace('_', '-')}" for _, name, info in fields() if bool in value_types(info)}
    source = "\n".join(path.read_text() for path in (ROOT / "src/clearsight/cli").rglob("*.py"))
    others = {"--nproc-per-node", "--data-binary", "--out", "--resume", "--recipe", "--help", "--version"}
    parameters = re.findall(r"^    (\w+): Annotated", source, flags=re.MULTILINE)
    others |= {"--" + name.replace("_", "-") for name in parameters}
    others |= set(re.findall(r'typer\.Option\(\s*"(--[a-z0-9-]+)"', source))
    parsers = [parser for words, parser in commands() if words.startswith("clearsight sagemaker")]
    others |= {option for parser in parsers for parameter in parser.params for option in parameter.opts}
    others |= {"--index-url", "--bs"}  # of pip, and of fastai
    own = re.sub(r"^## Words of other tools$.*?(?=^## |\Z)", "", TEXT, flags=re.MULTILINE | re.DOTALL)
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]+", own))
    assert sorted(named - flags - others) == []


def test_links_between_pages_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#]+)", page.read_text(encoding="utf-8")):
            assert target.startswith("https://") or (page.parent / target).exists(), f"{page.name}: {target}"


def test_python_in_the_documentation_compiles() -> None:
    blocks = re.findall(r"```python\n(.*?)```", TEXT, flags=re.DOTALL)
    assert blocks
    for block in blocks:
        compile(block, "documentation", "exec")


def test_yaml_in_the_documentation_is_a_recipe() -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", TEXT, flags=re.DOTALL)
    assert blocks
    for block in blocks:
        Recipe.parse(yaml.safe_load(block))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_page_is_empty(page: Path) -> None:
    assert len(page.read_text(encoding="utf-8")) > 400
