"""Puts the rules of a schema's texts into its grammar, which xgrammar writes.

A schema with marks (`autotool_core.held.texts`) becomes a grammar of its own: xgrammar prints it, and each mark in it is
replaced by the name of a rule. Between JSON's quotes a mark is printed as a regular expression, between the tags of a call as
one character after another.
"""

import json
import re
from functools import lru_cache
from typing import Any, cast

from autotool_core.held.texts import Texts
from autotool_core.held.writing import WRITINGS, Writing

IN_JSON = re.compile(r'Regex\("\^(?P<mark>held\d+x)\$", json_string=true\)')
SHORT_CODE = re.compile(r"\\(?:x([0-9a-fA-F]{2})|.)", re.DOTALL)
BETWEEN_TAGS = re.compile(r'"h" "e" "l" "d" (?P<digits>("\d" )+)"x"')

VALUE = re.compile(r'(?P<open>">"|"\\">"|"<arg_value>") \w+ (?P<value>\w+) \w+ (?P<close>"</(?:parameter|arg_value)>")')
"""A value between its tags, with optional white space on either side."""
AROUND_VALUES = {"qwen_xml": ' "\\n" '}
"""What the readers of calls take away around a value, by the style; nothing in the other styles."""


def written_out(tag: str, texts: Texts) -> str:
    """Return a structural tag with the rules of all marks. Raises RuntimeError for a schema that xgrammar does not take."""
    return json.dumps(_replaced(json.loads(tag), texts))


def _replaced(node: Any, texts: Texts) -> Any:
    if isinstance(node, list):
        return [_replaced(item, texts) for item in cast("list[Any]", node)]
    if not isinstance(node, dict):
        return node
    part = cast("dict[str, Any]", node)
    if part.get("type") != "json_schema":
        return {name: _replaced(value, texts) for name, value in part.items()}
    style = part.get("style")
    if not texts.rules and style is None:
        return part
    text = _printed(json.dumps({"type": "structural_tag", "format": part}))
    if style is not None:
        # White space would become part of a text; these texts are read as they stand.
        around = AROUND_VALUES.get(style, " ")
        text = VALUE.sub(lambda match: f"{match['open']}{around}{match['value']}{around}{match['close']}", text)
    used: dict[str, tuple[str, Writing]] = {}
    for expression, writing in zip((IN_JSON, BETWEEN_TAGS), WRITINGS, strict=True):
        text = expression.sub(lambda match, writing=writing: _rule_name(match, writing, used), text)
    rules = [rule for name, (mark, writing) in used.items() for rule in texts.rules[mark](name, writing)]
    return {"type": "grammar", "grammar": "\n".join([text, *rules])} if rules or style else part


@lru_cache(maxsize=256)  # the turns of a conversation bring the same tools
def _printed(tag: str) -> str:
    """Return a grammar's text with long codes of characters: of a short one xgrammar takes what follows for its end."""
    import xgrammar  # noqa: PLC0415 the server itself makes no grammars, and xgrammar takes seconds

    text = str(xgrammar.Grammar.from_structural_tag(tag))
    return SHORT_CODE.sub(lambda match: f"\\U000000{match[1]}" if match[1] else match[0], text)


def _rule_name(match: re.Match[str], writing: Writing, used: dict[str, tuple[str, Writing]]) -> str:
    groups = match.groupdict()
    mark = groups.get("mark") or f"held{''.join(filter(str.isdigit, groups['digits']))}x"
    name = f"{mark}_{writing.suffix}"
    used[name] = (mark, writing)
    return name
