"""Text of a PDF printed by Chromium. It reads as much of the format as the tests need to find a sentence."""

from __future__ import annotations

import re
import unicodedata
import zlib

_OBJECT = re.compile(rb"(\d+) 0 obj\n?(.*?)endobj", re.DOTALL)
_STREAM = re.compile(rb"stream\r?\n(.*?)\r?\nendstream", re.DOTALL)


def pages(pdf: bytes) -> int:
    """Return the number of pages."""
    return len(re.findall(rb"/Type\s*/Page\b(?!s)", pdf))


def text(pdf: bytes) -> str:
    """Return the text in the order of the file, without spaces and ligatures."""
    objects = {int(number): body for number, body in _OBJECT.findall(pdf)}
    fonts = {
        name: _letters(objects, int(target))
        for body in objects.values()
        for name, target in re.findall(rb"/(F\d+) (\d+) 0 R", body)
    }
    words = []
    for body in objects.values():
        for part in re.split(rb"(?=/F\d+ [\d.]+ Tf)", _inflated(body)):
            font = re.match(rb"/(F\d+) [\d.]+ Tf", part)
            if font and font[1] in fonts:
                glyphs = b"".join(re.findall(rb"<([0-9A-Fa-f]+)>", part))
                words.append(_spelled(glyphs, fonts[font[1]]))
    return "".join(unicodedata.normalize("NFKC", "".join(words)).split())


def _inflated(body: bytes) -> bytes:
    found = _STREAM.search(body)
    if not found or b"FlateDecode" not in body:
        return found[1] if found else b""
    return zlib.decompressobj().decompress(found[1])


def _letters(objects: dict[int, bytes], font: int) -> dict[int, str]:
    """Return glyph -> character from the ToUnicode map of a font."""
    target = re.search(rb"/ToUnicode (\d+) 0 R", objects.get(font, b""))
    table = _inflated(objects[int(target[1])]) if target else b""
    letters = {}
    for block in re.findall(rb"beginbfchar(.*?)endbfchar", table, re.DOTALL):
        for glyph, character in re.findall(rb"<(\w+)> <(\w+)>", block):
            letters[int(glyph, 16)] = bytes.fromhex(character.decode()).decode("utf-16-be")
    for block in re.findall(rb"beginbfrange(.*?)endbfrange", table, re.DOTALL):
        for first, last, character in re.findall(rb"<(\w+)> <(\w+)> <(\w+)>", block):
            for glyph in range(int(first, 16), int(last, 16) + 1):
                letters[glyph] = chr(int(character, 16) + glyph - int(first, 16))
    return letters


def _spelled(glyphs: bytes, letters: dict[int, str]) -> str:
    return "".join(letters.get(int(glyphs[i : i + 4], 16), "") for i in range(0, len(glyphs) - 3, 4))
