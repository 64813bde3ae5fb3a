"""The documentation names what there is, and nothing that is not."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest
import yaml

from clearsight.cli import COMMANDS
from clearsight.core.recipe import Recipe, fields

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
TEXT = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)


def test_every_command_is_documented() -> None:
    assert [name for name in COMMANDS if f"clearsight {name}" not in TEXT] == []


def test_settings_page_is_the_recipe() -> None:
    page = runpy.run_path(str(ROOT / "docs" / "settings.py"))["page"]()
    assert (ROOT / "docs" / "settings.md").read_text(encoding="utf-8") == page, "run: make docs"


def test_rules_page_is_the_rules() -> None:
    page = runpy.run_path(str(ROOT / "docs" / "rules.py"))["page"]()
    assert (ROOT / "docs" / "rules.md").read_text(encoding="utf-8") == page, "run: make docs"


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
    flags = {"--" + name.replace("_", "-") for _, name, _ in fields()}
    flags |= {f"--no-{name.replace('_', '-')}" for _, name, info in fields() if info.annotation is bool}
    source = "\n".join(path.read_text() for path in (ROOT / "src/clearsight/cli").rglob("*.py"))
    others = {"--nproc-per-node", "--data-binary", "--out", "--resume", "--recipe", "--help", "--version"}
    parameters = re.findall(r"^    (\w+): Annotated", source, flags=re.MULTILINE)
    others |= {"--" + name.replace("_", "-") for name in parameters}
    others |= set(re.findall(r'typer\.Option\("(--[a-z-]+)"', source))
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", TEXT))
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
