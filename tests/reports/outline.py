"""Outline of an HTML page: its headings, tags and text, as a screen reader gets them."""

from __future__ import annotations

from html.parser import HTMLParser

VOID = {"meta", "link", "img", "br", "input"}


class Outline(HTMLParser):
    """headings: (level, text).  tags: (name, attributes) in order.  text: all but scripts and styles.

    Raises ValueError for a tag that is closed in the wrong place or never.
    """

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.headings: list[tuple[int, str]] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(page)
        self.close()
        if self._open:
            raise ValueError(f"never closed: {self._open}")

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag in ("h1", "h2", "h3", "h4"):
            self.headings.append((int(tag[1]), ""))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self._open or self._open.pop() != tag:
            raise ValueError(f"</{tag}> in the wrong place, line {self.getpos()[0]}")

    def handle_data(self, data: str) -> None:
        if {"script", "style"} & set(self._open):
            return
        self.text += data
        if self._open and self._open[-1].startswith("h") and self._open[-1][1:].isdigit():
            level, text = self.headings[-1]
            self.headings[-1] = (level, text + data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        """The attributes of every element of one kind."""
        return [attributes for name, attributes in self.tags if name == tag]

    def loads(self) -> list[str]:
        """Every address that a browser would fetch by itself."""
        addresses = [
            value for _, attributes in self.tags for key, value in attributes.items() if key in ("src", "srcset")
        ]
        addresses += [link["href"] for link in self.all("link")]
        return [value for value in addresses if value]
