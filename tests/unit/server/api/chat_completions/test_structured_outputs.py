"""Forms of the answer's content: vLLM's structured outputs, their older names, and structural tags."""

import json
from typing import Any

import httpx
import pytest
from support.grammars import accepts
from support.serving import running, scripted

USER = [{"role": "user", "content": "2+2?"}]
SCHEMA = {"type": "object", "properties": {"x": {"type": "boolean"}}, "required": ["x"], "additionalProperties": False}
EBNF = 'root ::= "yes" | "no"'
TAG = {
    "type": "structural_tag",
    "format": {
        "type": "sequence",
        "elements": [{"type": "const_string", "value": "<a>"}, {"type": "regex", "pattern": "[0-9]+"}],
    },
}
OLD_TAG = {"structures": [{"begin": "<f>", "schema": SCHEMA, "end": "</f>"}], "triggers": ["<f>"]}


async def post(**fields: Any) -> tuple[httpx.Response, str | None]:
    """Return the response and the grammar that the engine was given."""
    engine = scripted("x")
    async with running(engine) as server, httpx.AsyncClient() as client:
        body = {"model": "tested", "messages": USER, "mode": "short"} | fields
        response = await client.post(f"{server.url}/chat/completions", json=body)
    return response, engine.requests[0].structural_tag if engine.requests else None


@pytest.mark.parametrize(
    ("fields", "good", "bad"),
    [
        ({"structured_outputs": {"json": SCHEMA}}, '{"x": true}', "{}"),
        ({"structured_outputs": {"json": json.dumps(SCHEMA)}}, '{"x": true}', "{}"),
        ({"structured_outputs": {"regex": "[a-c]{2}"}}, "ab", "abd"),
        ({"structured_outputs": {"choice": ["red", "red wine"]}}, "red wine", "blue"),
        ({"structured_outputs": {"grammar": EBNF}}, "no", "maybe"),
        ({"structured_outputs": {"json_object": True}}, '{"a": 1}', "[1]"),
        ({"structured_outputs": {"structural_tag": json.dumps(TAG)}}, "<a>12", "12"),
        ({"structured_outputs": {"structural_tag": TAG}}, "<a>12", "12"),
        ({"structured_outputs": {"structural_tag": json.dumps(OLD_TAG)}}, 'Well. <f>{"x": true}</f>', "<f>no</f>"),
        ({"response_format": TAG}, "<a>12", "12"),
        ({"response_format": {"type": "structural_tag", **OLD_TAG}}, 'Well. <f>{"x": true}</f>', "<f>no</f>"),
        ({"guided_json": SCHEMA}, '{"x": true}', "{}"),
        ({"guided_regex": "[a-c]{2}"}, "ab", "abd"),
        ({"guided_choice": ["red", "blue"]}, "red", "reds"),
        ({"guided_grammar": EBNF}, "no", "maybe"),
        ({"structured_outputs": {"regex": "a"}, "response_format": {"type": "text"}}, "a", "b"),
    ],
)
async def test_the_answer_has_the_form(fields: dict[str, Any], good: str, bad: str) -> None:
    response, tag = await post(**fields)
    assert response.status_code == 200, response.text
    assert accepts(tag, good)
    assert not accepts(tag, bad)


async def test_the_form_or_a_call() -> None:
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
    _, tag = await post(structured_outputs={"choice": ["yes"]}, tools=[tool])
    assert accepts(tag, "yes")
    assert accepts(tag, '<tool_call>\n{"name": "f", "arguments": {}}\n</tool_call>')
    assert not accepts(tag, "no")


async def test_the_reasoning_has_no_form() -> None:
    engine = scripted("Hm.\n</think>", "yes")
    async with running(engine) as server, httpx.AsyncClient() as client:
        body = {"model": "tested", "messages": USER, "mode": "long", "structured_outputs": {"choice": ["yes"]}}
        await client.post(f"{server.url}/chat/completions", json=body)
    assert [request.structural_tag is None for request in engine.requests] == [True, False]


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"structured_outputs": {}}, "structured_outputs"),
        ({"structured_outputs": {"json_object": False}}, "structured_outputs"),
        ({"structured_outputs": {"regex": "a", "choice": ["a"]}}, "structured_outputs"),
        ({"structured_outputs": {"json": 3}}, "structured_outputs.json"),
        ({"structured_outputs": {"json": "{"}}, "structured_outputs.json"),
        ({"structured_outputs": {"json": {"type": "nothing"}}}, "structured_outputs.json"),
        ({"structured_outputs": {"json": {"not": {}}}}, "structured_outputs.json"),
        ({"structured_outputs": {"regex": "("}}, "structured_outputs.regex"),
        ({"structured_outputs": {"regex": ""}}, "structured_outputs.regex"),
        ({"structured_outputs": {"choice": []}}, "structured_outputs.choice"),
        ({"structured_outputs": {"choice": ["a", 1]}}, "structured_outputs.choice.1"),
        ({"structured_outputs": {"grammar": "root ::="}}, "structured_outputs.grammar"),
        ({"structured_outputs": {"structural_tag": "{}"}}, "structured_outputs.structural_tag"),
        ({"structured_outputs": {"structural_tag": {"format": {"type": "x"}}}}, "structured_outputs.structural_tag"),
        ({"structured_outputs": {"regex": "a", "whitespace_pattern": " "}}, "structured_outputs.whitespace_pattern"),
        ({"structured_outputs": {"json": {}, "disable_any_whitespace": True}}, "structured_outputs.disable_any_whitespace"),
        ({"guided_regex": "("}, "guided_regex"),
        ({"guided_json": {"type": "nothing"}}, "guided_json"),
        ({"guided_regex": "a", "guided_choice": ["a"]}, "guided_choice"),
        ({"guided_regex": "a", "structured_outputs": {"regex": "b"}}, "guided_regex"),
        ({"structured_outputs": {"regex": "a"}, "response_format": {"type": "json_object"}}, "structured_outputs.regex"),
        ({"response_format": {"type": "structural_tag"}}, "response_format"),
        ({"response_format": {"type": "structural_tag", "format": {"type": "x"}}}, "response_format"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
    ],
)
async def test_bad_forms_are_refused_by_name(fields: dict[str, Any], field: str) -> None:
    response, tag = await post(**fields)
    assert (response.status_code, response.json()["error"]["param"]) == (400, field)
    assert tag is None
