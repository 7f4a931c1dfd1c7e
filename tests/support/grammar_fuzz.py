"""Are the texts of a schema's grammar values of the schema? Random schemas, and random walks through their grammars.

From the root: `PYTHONPATH=core:server:tests python -m support.grammar_fuzz --schemas 500 --seed 1`.
"""

import argparse
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import jsonschema
from hypothesis import Phase, given, seed, settings
from jsonschema.validators import validator_for

from autotool_core.errors import InvalidRequestError
from autotool_core.grammar import AnswerShape
from autotool_core.parsing.events import ToolCallArguments
from autotool_core.tool_formats import get
from autotool_server.conversation.constraints import grammar
from autotool_server.tools.schema_check import error_path
from support.grammar_walks import DeadEndError, walk
from support.random_schemas import PARAMETERS, SCHEMAS, UNCHECKED


def content_grammar(schema: Any) -> str:
    """Return the grammar of a content of this schema. Raises InvalidRequestError."""
    tag = grammar(AnswerShape(schema=schema), get("hermes"))
    assert tag is not None
    return tag


def call_grammar(schema: Mapping[str, Any], name: str) -> str:
    """Return the grammar, in a format, of a call of the strict tool `f` with this schema. Raises InvalidRequestError."""
    tool = {"type": "function", "function": {"name": "f", "strict": True, "parameters": schema}}
    tag = grammar(AnswerShape([tool], "one"), get(name))
    assert tag is not None
    return tag


def call_arguments(schema: Mapping[str, Any], name: str, text: str) -> str:
    """Return the JSON of the arguments of a call that the grammar has allowed."""
    tool_format = get(name)
    opener = next(opener for opener in tool_format.openers if opener in text)
    body = tool_format.call_body(0, {"f": schema}, opener)
    events, _ = body.feed(text[text.index(opener) + len(opener) :])
    return "".join(event.text for event in events if isinstance(event, ToolCallArguments))


def faults(schema: Any, text: str) -> Iterator[str]:
    """Yield what is wrong with the JSON of a value: no JSON, or the keywords of the schema that it fails."""
    try:
        value = json.loads(text)
    except ValueError:
        yield "no JSON"
        return
    try:
        for error in validator_for(schema, default=jsonschema.Draft202012Validator)(schema).iter_errors(value):
            yield str(error.validator)
    except Exception as error:  # whatever the validator stumbles over, it has no verdict
        yield type(error).__name__


def outcomes(schema: Any, walks: int, tool_format: str | None = None, limit: int = 1500) -> Iterator[tuple[str, str]]:
    """Yield what comes of a schema, of each kind with a detail: that it is invalid or refused, or of each walk.

    The schema is that of a content, or, with a format, that of a strict call's arguments. A walk has
    `limit` bytes at most.
    """
    if error_path(schema) is not None:
        yield "invalid schemas", ""
        return
    try:
        tag = content_grammar(schema) if tool_format is None else call_grammar(schema, tool_format)
    except InvalidRequestError as error:
        yield "refused", str(error).split(" in a JSON schema")[0]
        return
    yield "accepted", ""
    for number in range(walks):
        try:
            text = walk(tag, number, limit)
        except DeadEndError:
            yield "failures", f"dead end: of {json.dumps(schema)[:300]}"
            continue
        if text is None:
            yield "walks without an end", ""
        else:
            yield "outputs", ""
            value = text if tool_format is None else call_arguments(schema, tool_format, text)
            yield from (
                ("failures", f"{fault}: {text[:60]!r} of {json.dumps(schema)[:300]}") for fault in faults(schema, value)
            )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--schemas", type=int, default=500)
    parser.add_argument("--walks", type=int, default=4)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--tool-format", help="schemas of strict calls in this format, in place of contents")
    options = parser.parse_args()
    counts, details, seen = Counter[str](), Counter[tuple[str, str]](), set[str]()

    @seed(options.seed)
    @settings(
        max_examples=4 * options.schemas,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=UNCHECKED,
    )
    @given(SCHEMAS if options.tool_format is None else PARAMETERS)
    def run(schema: Any) -> None:
        text = json.dumps(schema, sort_keys=True)
        if text in seen or len(seen) == options.schemas:
            return
        seen.add(text)
        failed = False
        for kind, detail in outcomes(schema, options.walks, options.tool_format):
            counts[kind] += 1
            failed = failed or kind == "failures"
            if detail:
                details[kind, detail] += 1
        counts["schemas with a failure"] += failed

    run()
    print({"schemas": len(seen), **counts})  # noqa: T201
    for (kind, detail), count in details.most_common():
        print(f"{count:6} {kind}: {detail}")  # noqa: T201


if __name__ == "__main__":
    main()
