"""Random schemas and random texts of their grammars; more of them by `python -m support.grammar_fuzz`."""

from collections import Counter
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from support.grammar_fuzz import outcomes
from support.random_schemas import PARAMETERS, SCHEMAS, UNCHECKED

CHEAP = settings(
    max_examples=60,
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=UNCHECKED,
)


@CHEAP
@given(SCHEMAS)
def test_what_a_grammar_allows_is_a_value_of_its_schema(schema: Any) -> None:
    assert [detail for kind, detail in outcomes(schema, walks=2) if kind == "failures"] == []


@pytest.mark.parametrize("tool_format", ["hermes", "qwen3_coder", "glm45"])
def test_the_arguments_of_a_strict_call_are_values_of_its_schema(tool_format: str) -> None:
    seen = Counter[str]()

    @settings(CHEAP, max_examples=40)
    @given(PARAMETERS)
    def run(schema: Any) -> None:
        for kind, detail in outcomes(schema, 1, tool_format, limit=200):
            assert kind != "failures", detail
            seen[kind] += 1

    run()
    assert seen["outputs"] > 10
