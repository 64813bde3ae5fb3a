"""Write docs/terms.md: the words of the code, and every public class with the first sentence of its docstring."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

SRC = Path(__file__).parents[1] / "src"

HEAD = """# Terms

One word per meaning, the field's word. A newcomer who knows PyTorch, timm, Optuna, scikit-learn and SageMaker should
be able to guess every name. This page is written by `make docs` from the docstrings.

## Words

| word | meaning |
|---|---|
| image | what is classified |
| split | train, valid or test part of a dataset |
| epoch, step, batch | as in PyTorch; a step is an optimizer step |
| logits, predictions, correct | outputs of a model, their argmax, and those equal to the label |
| setting, default, unset | field of a recipe, study or rule; its value when nobody gave one; without a value |
| resolve | fill in an unset setting once the network and the data are known |
| run, saved run | a training run; what is read back of it from disk |
| trial, study, objective, sampler, pruner | as in Optuna |
| executor, worker, assignment | who carries out trials, one of its processes, and the work of one at a time |
| sample, span, gauge | one reading of the machine, a timed phase, a measured quantity |
| external loop | a training loop that clearsight did not write |
| snapshot, hook, callback | statistics of tensors at one step; where the debugger listens; its form for a trainer |
| finding, verdict, root cause | what a rule says of a run; found, clear or not enough data; what explains others |
| bundle | a folder with everything needed to serve exactly what was trained |
| loader worker | a thread that reads and decodes images |
| at chance level | of a model that has learned nothing |

## Classes
"""


def page() -> str:
    """Return the page: the words, then a table of public classes for each package."""
    lines = [HEAD.rstrip(), ""]
    for package, rows in _packages():
        lines += [f"### {package}", "", "| class | module | meaning |", "|---|---|---|"]
        lines += [f"| `{name}` | `{module}` | {meaning} |" for name, module, meaning in sorted(rows)]
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def _packages() -> Iterator[tuple[str, list[tuple[str, str, str]]]]:
    for package in sorted(path for path in (SRC / "clearsight").iterdir() if (path / "__init__.py").is_file()):
        rows = [row for path in sorted(package.rglob("*.py")) for row in _classes(path)]
        if rows:
            yield f"clearsight.{package.name}", rows


def _classes(path: Path) -> Iterator[tuple[str, str, str]]:
    module = ".".join(path.relative_to(SRC / "clearsight").with_suffix("").parts)
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            paragraph = (ast.get_docstring(node) or "").split("\n\n")[0]
            yield node.name, module, _first_sentence(" ".join(paragraph.split()))


def _first_sentence(text: str) -> str:
    """Return the text up to its first full stop that ends a sentence; pipes would end a cell of the table."""
    end = text.find(". ")
    return (text if end < 0 else text[: end + 1]).replace("|", "\\|")


if __name__ == "__main__":
    print(page(), end="")
