"""Each measurement counts what it names, on small source trees."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from tests.structure import measure
from tests.structure.measure import Module, Occurrence


def module_of(source: str) -> Module:
    return Module("package.module", "package/module.py", textwrap.dedent(source))


def texts(occurrences: list[Occurrence]) -> list[str]:
    return sorted(occurrence.text for occurrence in occurrences)


def tree(folder: Path, **sources: str) -> list[Module]:
    """Write modules to `folder` and read them back. `a__b="..."` is a/b.py."""
    for name, source in sources.items():
        path = folder / (name.replace("__", "/") + ".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(source), encoding="utf-8")
    return measure.read_modules(folder)


def rings(folder: Path, **sources: str) -> list[list[str]]:
    return measure.import_rings(measure.import_graph(tree(folder, **sources)))


def test_modules_are_named_by_their_path(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "__init__.py").write_text("")
    assert [module.name for module in tree(tmp_path, a__b__c="x = 1\n")] == ["a.b", "a.b.c"]


def test_duplicate_classes_are_public_and_in_several_modules(tmp_path: Path) -> None:
    modules = tree(
        tmp_path,
        a="class Curve: ...\nclass _Row: ...\nclass Twice: ...\nclass Twice: ...",
        b="class Outer:\n    class Curve: ...\nclass _Row: ...",
        c="def build():\n    class Curve: ...",
    )
    assert measure.duplicate_classes(modules) == {"Curve": ["a", "b", "c"]}


def test_every_binding_counts_once() -> None:
    source = """
    import os as system
    __all__ = []
    class Model:
        rate: float = 0.1
        def __init__(self, width, *args, depth=1, **kwargs):
            self.size, _ = width, depth
    async def run(): ...
    for row in [cell for cell in ()]: ...
    with open("f") as stream: ...
    try: ...
    except ValueError as error: ...
    if (count := 1): ...
    pick = lambda item: item
    match count:
        case [head, *tail]: ...
    """
    expected = "Model args cell count depth error head item kwargs pick rate row run size stream tail width"
    assert texts(measure.bound_names(module_of(source))) == expected.split()


def test_private_words_are_found_in_parameters_loops_and_classes() -> None:
    source = """
    def show(picture_size, *, own): ...
    for one in range(3): ...
    total = sum(made for made in ())
    class TuningConductor:
        said_step: int = 0
        def close(self):
            self._told = True
    """
    expected = ["TuningConductor", "_told", "made", "one", "own", "picture_size", "said_step"]
    assert texts(measure.banned_names(module_of(source))) == expected


@pytest.mark.parametrize(
    "name", ["told", "_TOLD", "ToldStep", "kept_rows", "is_picture", "Take", "_HOW", "there", "looks"]
)
def test_private_names(name: str) -> None:
    assert measure.is_banned(name)


@pytest.mark.parametrize(
    "name",
    [
        "one_hot",
        "lookup",
        "connection_made",
        "given_name",
        "forward_passes",
        "point",
        "seen",
        "early",
        "NearestNeighbor",
    ],
)
def test_ordinary_names(name: str) -> None:
    assert not measure.is_banned(name)


def test_module_and_package_names_count(tmp_path: Path) -> None:
    (tmp_path / "origins").mkdir()
    (tmp_path / "origins" / "__init__.py").write_text("")
    modules = tree(tmp_path, a__calendar="", a__schedule="")
    assert measure.banned_module_names(modules) == ["a/calendar.py", "origins/__init__.py"]


def test_openings_are_first_words_of_docstrings() -> None:
    source = '''
    """What a run is."""
    class Run:
        """Whether it ran."""
        def status(self):
            """How it ended."""
            def inner():
                """Those that are left."""
        def seconds(self):
            """However long it takes."""
    def load():
        """`Run` from a folder. What else."""
    '''
    module = module_of(source)
    assert texts(measure.banned_openings(module)) == ["How", "Those", "What", "Whether"]
    assert len(measure.docstring_openings(module)) == 6
    assert str(measure.banned_openings(module)[1]) == "package/module.py:3: Whether"


def test_comments_are_counted_without_directives_and_strings() -> None:
    source = """
    # reason
    x = 1  # why it is 1
    y = []  # type: ignore
    z = "# no comment"  # noqa: E501
    #
    """
    assert texts(measure.comments(module_of(source))) == ["reason", "why it is 1"]


def test_folders_count_modules_without_init(tmp_path: Path) -> None:
    many = {f"p__{folder}__m{i}": "" for folder in ("flat", "rules", "core") for i in range(measure.MAX_MODULES + 1)}
    modules = tree(tmp_path, **many, p__small__m="")
    (tmp_path / "p" / "small" / "__init__.py").write_text("")
    assert measure.modules_per_folder(measure.read_modules(tmp_path))["p/small"] == 1
    assert measure.full_folders(modules) == {"p/flat": measure.MAX_MODULES + 1}


def test_small_and_long_files(tmp_path: Path) -> None:
    modules = tree(tmp_path, small="x = 1\n" * 39, enough="x = 1\n" * 40, full="x = 1\n" * 400, over="x = 1\n" * 401)
    (tmp_path / "__main__.py").write_text("x = 1\n")
    assert measure.small_modules(measure.read_modules(tmp_path)) == {"small.py": 39}
    assert measure.long_files(modules) == {"over.py": 401}


def test_broad_handlers() -> None:
    clauses = ["except:", "except Exception:", "except (OSError, builtins.Exception) as e:", "except BaseException:"]
    source = "".join(f"try: ...\n{clause}\n    x = 1\n" for clause in [*clauses, "except OSError:"])
    module = module_of(source + "try: ...\nexcept BaseException:\n    close()\n    raise\n")
    assert len(measure.broad_handlers(module)) == 5
    assert len(measure.broad_handlers(module, with_cleanup=False)) == 4


def test_wide_classes_have_many_attributes() -> None:
    fields = "\n".join(f"    field_{i}: int = 0" for i in range(16))
    targets = ", ".join(f"self.attribute_{i}" for i in range(16))
    sources = {
        "Plain": f"class Plain:\n    def start(self):\n        {targets} = range(16)",
        "Mutable": f"@dataclass\nclass Mutable:\n{fields}",
        "Frozen": f"@dataclass(order=True, frozen=True)\nclass Frozen:\n{fields}",
        "Row": f"class Row(NamedTuple):\n{fields}",
        "Reader": f"class Reader:\n    def read(self):\n        return [{targets}]",
        "Outer": f"class Outer:\n    def build(self):\n        class Plain:\n            def f(self):\n"
        f"                {targets} = 1",
    }
    wide = [measure.wide_classes(module_of(source)) for source in sources.values()]
    assert [texts(found) for found in wide] == [
        ["Plain, 16 attributes"],
        ["Mutable, 16 attributes"],
        [],
        [],
        [],
        ["Plain, 16 attributes"],
    ]


def test_long_and_wide_functions() -> None:
    body = "    x = 1\n" * 60
    source = f"@cache\ndef long():\n{body}\ndef short():\n{body[:-10]}\n"
    assert texts(measure.long_functions(module_of(source))) == ["long, 61 lines"]
    narrow = "    def f(self, a, b, /, c, *d, e=lambda x, y: 0, **g): ...\n"
    wide = "    def h(self, a, b, c, d, e, f, g): ...\n"
    assert texts(measure.wide_functions(module_of(f"class A:\n{narrow}{wide}"))) == ["h, 7 parameters"]


def test_ring_at_the_top(tmp_path: Path) -> None:
    assert rings(tmp_path, p__a="import p.b", p__b="from p import c", p__c="from p.a import x", p__d="import p.a") == [
        ["p.a", "p.b", "p.c"]
    ]


def test_ring_through_an_import_in_a_function(tmp_path: Path) -> None:
    assert rings(tmp_path, p__a="def f():\n    from p.b import x", p__b="from . import a") == [["p.a", "p.b"]]


def test_imports_for_type_checking_make_no_ring(tmp_path: Path) -> None:
    source = "import typing\nif typing.TYPE_CHECKING:\n    from p.b import x\nelse:\n    import json"
    assert rings(tmp_path, p__a=source, p__b="import p.a") == []


def test_a_package_is_imported_only_by_its_own_names(tmp_path: Path) -> None:
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "__init__.py").write_text("from p.a import x\n")
    assert rings(tmp_path, p__a="import p.b", p__b="") == []
    assert rings(tmp_path, p__b="from p import x") == [["p", "p.a", "p.b"]]


def test_rings_are_sorted_by_size(tmp_path: Path) -> None:
    found = rings(tmp_path, a="import b", b="import a", x="import y", y="import z", z="import x")
    assert found == [["x", "y", "z"], ["a", "b"]]


def test_table_of_a_small_tree(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tree(tmp_path, a='"""What it is."""\ntold = 1  # reason\n')
    monkeypatch.setattr("sys.argv", ["measure.py", str(tmp_path), "--offenders"])
    measure.main()
    output = capsys.readouterr().out
    assert "1 of 1 (100.0 %)" in output
    assert "a.py:2: told" in output


def test_the_measuring_code_keeps_to_the_terms() -> None:
    modules = measure.read_modules(Path(__file__).parent)
    own_files = [module for module in modules if module.name in ("measure", "test_measure", "test_limits")]
    assert [str(name) for name in measure.collect(own_files, measure.banned_names)] == []
