"""Measure the names and the structure of a source tree.

    python tests/structure/measure.py [SRC_DIR] [--offenders]

prints one line per measurement, and with `--offenders` also every place that counts, with file and line.
`test_limits.py` holds the limits for `src/`. Uses the standard library alone.
"""

# ruff: noqa: SIM905 - word lists are easier to read and to extend as text

from __future__ import annotations

import ast
import io
import re
import sys
import tokenize
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

# The private vocabulary, from the "not" column of the terms and their last line about locals.
#
# BANNED_WORDS: banned wherever the word stands in a name, because no compound of it is needed (`lookup` is one word and
# allowed). Words with an ordinary meaning elsewhere are left out: `point` of a curve, `line` of a file, `right` edge of
# a box, `peak` memory, `readers` of dataset formats, `cost`, `trained`, `rates`.
BANNED_WORDS = frozenset(
    """
    picture pictures  unsaid said told  knob knobs  settle settled unsettled  answers answered answering
    crew bench conductor ledger shelf shelve outbox calendar announcer onlooker onlookers
    ear hear heard  wish wishes deed deeds  look looks looked  stretch stretches  aim aims numbered
    foreign  spared paid unpaid  standing pressing  intake journal refusal refusals  hopeless guesses guessing
    course courses  anatomy  origin origins  around kept  rehearsal rehearsals surroundings arrivals
    """.split()
)
# BANNED_NAMES: banned as the whole name only (case and outer underscores ignored), because compounds are ordinary:
# `one_hot`, `how_computed`, `own_line`, `connection_made`, `post_process`, `forward_passes`, `answer_type`.
BANNED_NAMES = frozenset("one how own made take takes given post talk passes answer guess say says".split())
# NOT_NOUNS: banned as the whole name too. Adverbs, pronouns, prepositions and verb forms do not say what a value is.
# Common idioms stay allowed: done, found, known, seen, chosen, left, rest, shown, written, missing.
NOT_NOUNS = frozenset(
    """
    what where when why which who  here there  mine ours theirs  beside beyond apart alike alone together again still
    sure  began begun spent waited turned asked wanted want have got drawn taken brought judged
    """.split()
)
# ALLOWED: names of the above that other people's code or files on disk know, in these modules alone, with the reason.
ALLOWED: dict[str, tuple[str, str]] = {
    "clearsight/core/errors.py": ("what got", "public fields and keywords of every error"),
    "clearsight/core/finding.py": ("have want", "keys of findings.jsonl"),
    "clearsight/core/profile.py": ("pixels_kept", "a key of profile/machine.json"),
    "clearsight/core/rule.py": ("have want", "keywords of `not_enough_data`, which rules of users call"),
    "clearsight/core/run.py": ("spared_seconds", "former name of `saved_seconds`"),
    "clearsight/serving/payload.py": ("pictures Answer", "names that code/inference.py of earlier bundles uses"),
    "clearsight/workflow/run/repair.py": ("kept", "a key of repairs.json"),
}

OPENINGS = frozenset({"What", "Whether", "How", "Those"})
REGISTRIES = frozenset("rules searchers families codecs readers commands gauges executors".split())
FREE_FOLDERS = REGISTRIES | {"core"}  # core is a flat vocabulary

MAX_MODULES = 20  # in a folder
MAX_ATTRIBUTES = 15  # of a class
MAX_PARAMETERS = 6
MAX_FUNCTION_LINES = 60
MAX_FILE_LINES = 400
MIN_MODULE_LINES = 40

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_DIRECTIVES = ("type:", "noqa", "pragma:", "ruff:", "fmt:", "!")
_VALUE_BASES = frozenset({"NamedTuple", "TypedDict", "Protocol", "Enum", "StrEnum", "IntEnum", "Section"})

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Occurrence:
    """A name, a docstring opening, a class, a function or a handler, with file and line."""

    path: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.text}"


@dataclass(frozen=True)
class Module:
    """A source file. `path` is relative to the source folder."""

    name: str
    path: str
    source: str

    @cached_property
    def nodes(self) -> tuple[ast.AST, ...]:
        return tuple(ast.walk(ast.parse(self.source, self.path)))

    @property
    def lines(self) -> int:
        return len(self.source.splitlines())

    @property
    def is_package(self) -> bool:
        return Path(self.path).name == "__init__.py"

    def functions(self) -> list[Function]:
        return [node for node in self.nodes if isinstance(node, Function)]

    def classes(self) -> list[ast.ClassDef]:
        return [node for node in self.nodes if isinstance(node, ast.ClassDef)]

    def occurrence(self, node: ast.AST, text: str) -> Occurrence:
        return Occurrence(self.path, getattr(node, "lineno", 1), text)


def read_modules(src: Path) -> list[Module]:
    """Return every Python file below `src`, sorted by path."""
    modules = []
    for file in sorted(src.rglob("*.py")):
        path = file.relative_to(src)
        parts = path.parent.parts if path.name == "__init__.py" else path.with_suffix("").parts
        modules.append(Module(".".join(parts), path.as_posix(), file.read_text(encoding="utf-8")))
    return modules


def duplicate_classes(modules: Sequence[Module]) -> dict[str, list[str]]:
    """Map each public class name that two or more modules define to these modules. Nested classes count."""
    owners: dict[str, set[str]] = defaultdict(set)
    for module in modules:
        for node in module.classes():
            owners[node.name].add(module.name)
    return {name: sorted(owners[name]) for name in sorted(owners) if len(owners[name]) > 1 and name[0] != "_"}


def bound_names(module: Module) -> list[Occurrence]:
    """Return every binding of a name: parameters, targets of any kind, functions, classes and `self.x = ...`.

    `self`, `cls`, `_`, dunder names and imported names are left out.
    """
    names = []
    for node in module.nodes:
        match node:
            case (
                ast.FunctionDef(name=name)
                | ast.AsyncFunctionDef(name=name)
                | ast.ClassDef(name=name)
                | ast.arg(arg=name)
                | ast.Name(id=name, ctx=ast.Store())
                | ast.Attribute(value=ast.Name(id="self"), attr=name, ctx=ast.Store())
                | ast.ExceptHandler(name=str(name))
                | ast.MatchAs(name=str(name))
                | ast.MatchStar(name=str(name))
            ):
                if name not in ("self", "cls", "_") and not re.fullmatch("__.*__", name):
                    names.append(module.occurrence(node, name))
    return names


def is_banned(name: str) -> bool:
    """Return True for a name of the private vocabulary, in snake_case or CamelCase."""
    words = {word.lower() for word in _WORD.findall(name)}
    return not words.isdisjoint(BANNED_WORDS) or name.strip("_").lower() in BANNED_NAMES | NOT_NOUNS


def banned_names(module: Module) -> list[Occurrence]:
    allowed = ALLOWED.get(module.path, ("", ""))[0].split()
    return [name for name in bound_names(module) if is_banned(name.text) and name.text not in allowed]


def banned_module_names(modules: Sequence[Module]) -> list[str]:
    """Return the paths of the modules and packages whose own name is banned."""
    return [module.path for module in modules if is_banned(module.name.rpartition(".")[2])]


def docstring_openings(module: Module) -> list[Occurrence]:
    """Return the first word of each docstring, of the module, its classes and its functions."""
    documented = [node for node in module.nodes if isinstance(node, ast.Module | ast.ClassDef | Function)]
    texts = [(node, text) for node in documented if (text := ast.get_docstring(node))]
    return [module.occurrence(node, re.split(r"\W", text, maxsplit=1)[0]) for node, text in texts]


def banned_openings(module: Module) -> list[Occurrence]:
    return [occurrence for occurrence in docstring_openings(module) if occurrence.text in OPENINGS]


def comments(module: Module) -> list[Occurrence]:
    """Return comments on lines of their own and after code, without directives such as `# noqa`."""
    tokens = tokenize.generate_tokens(io.StringIO(module.source).readline)
    texts = [(token, token.string[1:].strip()) for token in tokens if token.type == tokenize.COMMENT]
    return [
        Occurrence(module.path, token.start[0], text)
        for token, text in texts
        if text and not text.startswith(_DIRECTIVES)
    ]


def modules_per_folder(modules: Sequence[Module]) -> dict[str, int]:
    """Count the modules directly in each folder, without `__init__.py`."""
    return dict(Counter(Path(module.path).parent.as_posix() for module in modules if not module.is_package))


def full_folders(modules: Sequence[Module]) -> dict[str, int]:
    """Return the folders with too many modules. Registries and core may have any number."""
    sizes = modules_per_folder(modules).items()
    return {folder: size for folder, size in sizes if size > MAX_MODULES and Path(folder).name not in FREE_FOLDERS}


def small_modules(modules: Sequence[Module]) -> dict[str, int]:
    sizes = {module.path: module.lines for module in modules if Path(module.path).stem not in ("__init__", "__main__")}
    return {path: lines for path, lines in sizes.items() if lines < MIN_MODULE_LINES}


def long_files(modules: Sequence[Module]) -> dict[str, int]:
    return {module.path: module.lines for module in modules if module.lines > MAX_FILE_LINES}


def long_functions(module: Module) -> list[Occurrence]:
    """Return functions over the limit, counted from `def` to the last line."""
    sizes = [(node, (node.end_lineno or node.lineno) - node.lineno + 1) for node in module.functions()]
    return [module.occurrence(node, f"{node.name}, {size} lines") for node, size in sizes if size > MAX_FUNCTION_LINES]


def wide_functions(module: Module) -> list[Occurrence]:
    """Return functions with too many parameters. `*args` and `**kwargs` count as one each, `self` and `cls` do not."""
    wide = []
    for node in module.functions():
        args = node.args
        parameters = [*args.posonlyargs, *args.args, *args.kwonlyargs, *filter(None, (args.vararg, args.kwarg))]
        count = sum(parameter.arg not in ("self", "cls") for parameter in parameters)
        if count > MAX_PARAMETERS:
            wide.append(module.occurrence(node, f"{node.name}, {count} parameters"))
    return wide


def wide_classes(module: Module) -> list[Occurrence]:
    """Return classes with too many attributes.

    An attribute is a name assigned to `self` anywhere in a method or an annotated field of the class body. Pure values
    are left out, because a wide record does not do too much: frozen dataclasses, named tuples, typed dictionaries,
    protocols, enums and `Section`s of settings. Other dataclasses can change in use, so their fields count.
    """
    sizes = [(node, len(_attributes(node))) for node in module.classes() if not _is_value(node)]
    return [module.occurrence(node, f"{node.name}, {size} attributes") for node, size in sizes if size > MAX_ATTRIBUTES]


def _is_value(node: ast.ClassDef) -> bool:
    decorators = [ast.unparse(decorator) for decorator in node.decorator_list]
    is_frozen = any(re.match(r"(\w+\.)*dataclass\(.*\bfrozen=True\b", decorator) for decorator in decorators)
    return is_frozen or any(_last_name(base) in _VALUE_BASES for base in node.bases)


def _attributes(node: ast.ClassDef) -> set[str]:
    names = set()
    for child in node.body:
        match child:
            case ast.AnnAssign(target=ast.Name(id=name), annotation=annotation):
                if "ClassVar" not in ast.unparse(annotation):
                    names.add(name)
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                names.update(_self_targets(child))
    return names


def _self_targets(node: ast.AST) -> Iterator[str]:
    """Yield the attributes assigned to `self`, without those of classes defined inside the method."""
    for child in ast.iter_child_nodes(node):
        match child:
            case ast.ClassDef():
                continue
            case ast.Attribute(value=ast.Name(id="self"), attr=name, ctx=ast.Store()):
                yield name
        yield from _self_targets(child)


def _last_name(node: ast.expr | None) -> str:
    """Return `c` for `c`, `a.b.c` and `c[T]`."""
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
        case ast.Subscript(value=value):
            return _last_name(value)
    return ""


def broad_handlers(module: Module, *, with_cleanup: bool = True) -> list[Occurrence]:
    """Return bare handlers and handlers of `Exception` or `BaseException`, alone or in a tuple.

    `with_cleanup=False` leaves out those of BaseException that end with a bare `raise`: they clean up and hide nothing.
    """
    broad = []
    for node in module.nodes:
        if isinstance(node, ast.ExceptHandler):
            caught = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
            names = {_last_name(item) if item else "BaseException" for item in caught}
            is_cleanup = "BaseException" in names and isinstance(node.body[-1], ast.Raise) and not node.body[-1].exc
            if names & {"Exception", "BaseException"} and (with_cleanup or not is_cleanup):
                broad.append(module.occurrence(node, ast.unparse(node).splitlines()[0]))
    return broad


def import_graph(modules: Sequence[Module]) -> dict[str, set[str]]:
    """Map each module to the modules of the tree that it imports, at the top or in functions.

    `from a import b` leads to `a.b` if that is a module, else to `a`. Left out: imports under TYPE_CHECKING, modules
    named in strings (registries), and the packages that Python imports on the way to a module.
    """
    names = {module.name for module in modules}
    return {module.name: {target for target in _imports(module, names) if target != module.name} for module in modules}


def _imports(module: Module, names: set[str]) -> Iterator[str]:
    typing_only: set[ast.AST] = set()
    for node in module.nodes:  # parents come before their children
        if isinstance(node, ast.If) and _last_name(node.test) == "TYPE_CHECKING":
            typing_only.update(inner for child in node.body for inner in ast.walk(child))
        elif isinstance(node, ast.Import) and node not in typing_only:
            yield from (alias.name for alias in node.names if alias.name in names)
        elif isinstance(node, ast.ImportFrom) and node not in typing_only:
            package = _imported_package(module, node)
            for alias in node.names:
                yield from [name for name in (f"{package}.{alias.name}", package) if name in names][:1]


def _imported_package(module: Module, node: ast.ImportFrom) -> str:
    """Return the absolute name after `from`."""
    parts = module.name.split(".")
    parents = parts[: len(parts) - node.level + module.is_package] if node.level else []
    return ".".join([*parents, *([node.module] if node.module else [])])


def import_rings(graph: Mapping[str, set[str]]) -> list[list[str]]:
    """Return the groups of modules that import each other, directly or through others; the largest first."""
    reached = {name: _reachable(name, graph) for name in graph}
    rings = {frozenset(other for other in reached[name] if name in reached[other]) for name in graph}
    return sorted((sorted(ring) for ring in rings if len(ring) > 1), key=lambda ring: (-len(ring), ring))


def _reachable(start: str, graph: Mapping[str, set[str]]) -> set[str]:
    reached: set[str] = set()
    queue = [start]
    while queue:
        new = graph[queue.pop()] - reached
        reached |= new
        queue += new
    return reached


def collect(modules: Sequence[Module], measure: Callable[[Module], list[Occurrence]]) -> list[Occurrence]:
    """Return what `measure` finds in all the modules."""
    return [occurrence for module in modules for occurrence in measure(module)]


def table(modules: Sequence[Module]) -> list[tuple[str, str]]:
    """Return the measurements as pairs of name and value."""
    lines = sum(module.lines for module in modules)
    names, banned = len(collect(modules, bound_names)), len(collect(modules, banned_names))
    docstrings, openings = len(collect(modules, docstring_openings)), len(collect(modules, banned_openings))
    handlers = collect(modules, broad_handlers)
    plain_handlers = sum("BaseException" not in handler.text for handler in handlers)
    folders = sorted(full_folders(modules).items(), key=lambda item: -item[1])
    rings = import_rings(import_graph(modules))
    return [
        ("files", f"{len(modules)}"),
        ("lines", f"{lines}"),
        ("public class names in two or more modules", f"{len(duplicate_classes(modules))}"),
        ("private vocabulary in bound names", f"{banned} of {names} ({100 * banned / max(names, 1):.1f} %)"),
        ("private vocabulary in module names", f"{len(banned_module_names(modules))}"),
        (
            "What, Whether, How, Those first",
            f"{openings} of {docstrings} ({100 * openings / max(docstrings, 1):.1f} %)",
        ),
        (f"folders over {MAX_MODULES} modules", ", ".join(f"{name} {size}" for name, size in folders) or "0"),
        (f"modules under {MIN_MODULE_LINES} lines", f"{len(small_modules(modules))}"),
        ("handlers of every exception", f"{len(handlers)} (except Exception: {plain_handlers})"),
        ("comments per 100 lines", f"{100 * len(collect(modules, comments)) / max(lines, 1):.1f}"),
        (f"classes over {MAX_ATTRIBUTES} attributes", f"{len(collect(modules, wide_classes))}"),
        (f"functions over {MAX_FUNCTION_LINES} lines", f"{len(collect(modules, long_functions))}"),
        (f"functions over {MAX_PARAMETERS} parameters", f"{len(collect(modules, wide_functions))}"),
        (f"files over {MAX_FILE_LINES} lines", f"{len(long_files(modules))}"),
        ("import rings", f"{len(rings)}"),
        ("largest import ring", ", ".join(rings[0]) if rings else "none"),
    ]


def main() -> None:
    folders = [argument for argument in sys.argv[1:] if argument != "--offenders"]
    modules = read_modules(Path(folders[0]) if folders else Path(__file__).parents[2] / "src")
    for name, value in table(modules):
        print(f"{name:<43}{value}")
    if "--offenders" in sys.argv:
        for measure in (banned_names, banned_openings, broad_handlers, wide_classes, long_functions, wide_functions):
            print(f"\n{measure.__name__}", *collect(modules, measure), sep="\n  ")
        print("\nduplicate_classes", *duplicate_classes(modules).items(), sep="\n  ")
        print("\nsmall_modules", *small_modules(modules).items(), sep="\n  ")


if __name__ == "__main__":
    main()
