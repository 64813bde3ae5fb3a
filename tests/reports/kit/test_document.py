from __future__ import annotations

from dataclasses import replace

from clearsight.reports.kit.document import Document
from clearsight.reports.kit.section import PageSection
from tests.reports.outline import Outline


def notices(*texts: str) -> PageSection:
    found = [{"code": "c", "text": text, "paths": [], "about": "", "left": 0} for text in texts]
    return PageSection(key="s", title="Part", template="audit_overview.html", values={"notices": found, "figures": []})


def test_a_page_without_charts_carries_no_script() -> None:
    page = Document(title="T", kind="Report", sections=[notices("hello")]).render()
    assert not Outline(page).all("script")
    assert len(page) < 20_000


def test_title_kind_badge_and_sections_are_there_and_linked() -> None:
    seen = Outline(Document(title="T", kind="Report", badge="done", sections=[notices()]).render())
    assert seen.headings == [(1, "T "), (2, "Part")]
    assert "done" in seen.text
    assert {"href": "#s"} in seen.all("a")
    assert any(section.get("id") == "s" for section in seen.all("section"))


def test_the_page_forbids_itself_the_network() -> None:
    page = Document(title="T", kind="Report", sections=[notices()]).render()
    policy = next(meta["content"] for meta in Outline(page).all("meta") if "http-equiv" in meta)
    assert policy is not None
    assert policy.startswith("default-src 'none';")
    assert "http" not in policy


def test_text_is_never_markup() -> None:
    seen = Outline(Document(title="<i>T", kind="<i>", badge="<i>", sections=[notices("<script>x")]).render())
    assert not seen.all("i")
    assert not seen.all("script")
    assert "<script>x" in seen.text


def test_the_same_values_give_the_same_bytes() -> None:
    document = Document(title="T", kind="Report", sections=[notices("a", "b")])
    assert document.render() == document.render()


def test_scripts_of_sections_run_once_each() -> None:
    parts = [replace(notices(), key=key, scripts=("copy.js", "fold.js")) for key in ("a", "b")]
    page = Document(title="T", kind="Report", sections=parts).render()
    assert len(Outline(page).all("script")) == 2
    assert "plotly" not in page
