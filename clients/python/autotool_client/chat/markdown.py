"""Markdown of answers: cut into blocks while it is streamed, and rendered so that no character of the model's is lost."""

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import ClassVar

from markdown_it import MarkdownIt
from markdown_it.token import Token
from rich import markdown


class Parser(MarkdownIt):
    """CommonMark with tables, whose targets of links stay as they were written."""

    def normalizeLink(self, url: str) -> str:  # noqa: N802 the library's name
        return url


# What these rules read as markup would vanish from the screen: HTML, entities, backslashes, targets of links, images.
VANISHING = ["html_block", "html_inline", "entity", "escape", "reference", "image", "autolink"]
PARSER = Parser("commonmark", {"html": False}).enable(["table", "strikethrough"]).disable(VANISHING)
WITHOUT_TABLES = Parser("commonmark", {"html": False}).enable("strikethrough").disable(VANISHING)
LANGUAGE = re.compile(r"[\w.+#-]*", re.ASCII)


class LeftHeading(markdown.Heading):
    """A heading that begins where the text does."""

    LEVEL_ALIGN: ClassVar = dict.fromkeys(markdown.Heading.LEVEL_ALIGN, "left")


class AnswerMarkdown(markdown.Markdown):
    """Markdown that keeps the answer's line breaks and shows the targets of links."""

    elements: ClassVar = {**markdown.Markdown.elements, "heading_open": LeftHeading}

    def __init__(self, text: str) -> None:
        super().__init__(text, hyperlinks=False)
        self.parsed = PARSER.parse(text)
        if _drops_cells(self.parsed, text):
            self.parsed = WITHOUT_TABLES.parse(text)
        for token in self.parsed:
            _keep_text(token)


def _drops_cells(tokens: Sequence[Token], text: str) -> bool:
    """Whether a table, other than one in a list, has rows with more cells than its header: the parser leaves them out."""
    lines = text.split("\n")
    places = [token.map for token in tokens if token.type == "tr_open" and token.level == 2 and token.map]
    rows = [line for start, end in places for line in lines[start:end]]
    cells = [token.content for token in tokens if token.type == "inline" and token.level == 4]
    return sum(map(_letters, rows)) > sum(map(_letters, cells))


def _letters(text: str) -> int:
    return sum(map(str.isalnum, text))


def _keep_text(token: Token) -> None:
    """Keep line breaks, and what stands behind the marks of a fence if it is not just a language."""
    if token.type == "fence" and not LANGUAGE.fullmatch(token.info.strip()):
        token.content, token.info = f"{token.info.strip()}\n{token.content}", ""
    for child in token.children or ():
        if child.type == "softbreak":
            child.type = "hardbreak"


def closed_blocks(text: str) -> tuple[list[str], str]:
    """Return the blocks of a text that no further text can change, and the rest.

    A block (a paragraph, list, table, fence and so on) is closed where a complete line begins another one.
    """
    end = text.rfind("\n") + 1
    *closed, last = all_blocks(text[:end]) or [""]
    return closed, last + text[end:]


def all_blocks(text: str) -> list[str]:
    """Return the blocks of a complete text, which are the whole of it."""
    starts = [token.map[0] for token in PARSER.parse(text) if token.level == 0 and token.nesting >= 0 and token.map]
    lines = [0, *(line.end() for line in re.finditer("\n", text))]
    cuts = [0, *(lines[start] for start in starts[1:]), len(text)]
    return [text[start:end] for start, end in pairwise(cuts)] if text else []


def closed_lines(text: str) -> tuple[list[str], str]:
    """Return the lines of a plain text that are complete, and the rest, from its last line with characters on."""
    end = text.rstrip().rfind("\n")
    return (text[:end].split("\n"), text[end + 1 :]) if end >= 0 else ([], text)
