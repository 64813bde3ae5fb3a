"""The notebook of the first hour runs from its first cell to its last, and shows what it says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.walks.notebooks import Notebook

PATH = Path(__file__).parents[2] / "docs" / "notebooks" / "first_hour.ipynb"


def test_the_notebook_has_no_outputs_in_it() -> None:
    cells = json.loads(PATH.read_text(encoding="utf-8"))["cells"]
    assert all(not cell["outputs"] and cell["execution_count"] is None for cell in cells if cell["cell_type"] == "code")
    assert PATH.stat().st_size < 20_000


@pytest.mark.slow
def test_the_first_hour(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    notebook = Notebook(PATH)
    notebook.run()
    names = notebook.names
    assert names["run"].status.value == "completed"
    assert names["stopped"].status.value == "stopped_early"
    assert names["resumed"].status.value == "completed"
    assert len(names["resumed"].epochs()) == 6
    assert len(names["study"].trials) == 5
    assert [row.path for row in names["predictions"]] == [str(path) for path in names["images"]]
    assert len(Path("first_hour/predictions.csv").read_text().splitlines()) == 5
    assert names["answer"]["label"] in set(map(str, range(10)))
    page = notebook.page()
    assert "epoch 4/4" in page, "progress is shown in place"
    assert page.count("<progress") == 0, "no bar is left"
