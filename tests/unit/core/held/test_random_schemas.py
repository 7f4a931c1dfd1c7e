"""Random schemas and random texts of their grammars; more of them by `python -m support.grammar_fuzz`."""

from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from support.grammar_fuzz import call_arguments, call_grammar, faults, outcomes
from support.grammar_walks import walk
from support.random_schemas import LEAVES, SCHEMAS

from autotool_core.errors import InvalidRequestError

CHEAP = settings(
    max_examples=60,
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
NAMES = st.sampled_from(["a", "b", "city", "x_1"])
PARAMETERS = st.builds(
    lambda properties, others: {"type": "object", "properties": properties, "required": [*properties][:1], **others},
    st.dictionaries(NAMES, LEAVES, min_size=1, max_size=3),
    st.sampled_from([{}, {"additionalProperties": {"type": "integer"}}]),
)


@CHEAP
@given(SCHEMAS)
def test_what_a_grammar_allows_is_a_value_of_its_schema(schema: Any) -> None:
    assert [detail for kind, detail in outcomes(schema, walks=2) if kind == "failures"] == []


@pytest.mark.parametrize("tool_format", ["hermes", "qwen3_coder", "glm45", "minimax_m2"])
def test_the_arguments_of_a_strict_call_are_values_of_its_schema(tool_format: str) -> None:
    outputs = 0

    @CHEAP
    @given(PARAMETERS)
    def run(schema: Any) -> None:
        nonlocal outputs
        try:
            tag = call_grammar(schema, tool_format)
        except InvalidRequestError:
            return
        text = walk(tag, 0, limit=400)
        if text is not None:
            outputs += 1
            assert [*faults(schema, call_arguments(schema, tool_format, text))] == [], text

    run()
    assert outputs > 10
