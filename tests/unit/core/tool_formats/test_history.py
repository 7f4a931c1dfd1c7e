"""Earlier calls in prompts: chat templates written from the families' public descriptions, and what they make of calls.

The templates have the families' parts that write calls, in a frame that is none of theirs.
"""

import json
from typing import Any

import pytest
from support.parsing_turns import as_turn, function_tool, run
from support.tiny import make_tokenizer

from autotool_core import tool_formats
from autotool_core.modes import Mode
from autotool_core.profile import Profile
from autotool_core.prompt import PromptRenderer

FRAME = (
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% if m.tool_calls %}CALLS{% endif %}<end>{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)
EACH = "{% for c in m.tool_calls %}CALL{% endfor %}"
VALUE = "{{ v if v is string else v | tojson }}"
ARGUMENTS = (
    "{% if c.function.arguments is string %}{{ c.function.arguments }}{% else %}{{ c.function.arguments | tojson }}{% endif %}"
)
LISTED = "{% for c in m.tool_calls %}OBJECT{% if not loop.last %}, {% endif %}{% endfor %}"
PAIRS = "{% for k, v in c.function.arguments.items() %}{{ k }}={{ VALUE }}{% if not loop.last %}, {% endif %}{% endfor %}"
PYTHON = LISTED.replace("OBJECT", "{{ c.function.name }}(" + PAIRS + ")")
BRACED = (
    "{% macro w(v) %}{% if v is string %}<escape>{{ v }}<escape>{% elif v is mapping %}{{ '{' }}{% for k, x in v | dictsort %}"
    "{{ k }}:{{ w(x) }}{% if not loop.last %},{% endif %}{% endfor %}{{ '}' }}{% elif v is iterable %}[{% for x in v %}"
    "{{ w(x) }}{% if not loop.last %},{% endif %}{% endfor %}]{% else %}{{ v | tojson }}{% endif %}{% endmacro %}"
    "call:{{ c.function.name }}{{ w(c.function.arguments) }}"
)
DEEPSEEK = "<｜tool▁calls▁begin｜>" + EACH + "<｜tool▁calls▁end｜>"
TEMPLATES = {
    "hermes": EACH.replace("CALL", '{{ "\\n" }}<tool_call>{{ "\\n" }}{{ c.function | tojson }}{{ "\\n" }}</tool_call>'),
    "glm45": EACH.replace(
        "CALL",
        '{{ "\\n<tool_call>" + c.function.name + "\\n" }}{% for k, v in c.function.arguments.items() %}'
        '<arg_key>{{ k }}</arg_key>{{ "\\n" }}<arg_value>' + VALUE + '</arg_value>{{ "\\n" }}{% endfor %}</tool_call>',
    ),
    "kimi_k2": "<|tool_calls_section_begin|>"
    + EACH.replace("CALL", "<|tool_call_begin|>{{ c.id }}<|tool_call_argument_begin|>" + ARGUMENTS + "<|tool_call_end|>")
    + "<|tool_calls_section_end|>",
    "deepseek_v31": DEEPSEEK.replace(
        "CALL", "<｜tool▁call▁begin｜>{{ c.function.name }}<｜tool▁sep｜>" + ARGUMENTS + "<｜tool▁call▁end｜>"
    ),
    "deepseek_v3": DEEPSEEK.replace(
        "CALL",
        '<｜tool▁call▁begin｜>{{ c.type }}<｜tool▁sep｜>{{ c.function.name + "\\n```json\\n" }}'
        + ARGUMENTS
        + '{{ "\\n```" }}<｜tool▁call▁end｜>',
    ),
    "minimax_m2": '<minimax:tool_call>{{ "\\n" }}'
    + EACH.replace(
        "CALL",
        '<invoke name="{{ c.function.name }}">{% for k, v in c.function.arguments.items() %}{{ "\\n" }}'
        '<parameter name="{{ k }}">' + VALUE + '</parameter>{% endfor %}{{ "\\n" }}</invoke>{{ "\\n" }}',
    )
    + "</minimax:tool_call>",
    "deepseek_v32": '<｜DSML｜function_calls>{{ "\\n" }}'
    + EACH.replace(
        "CALL",
        '<｜DSML｜invoke name="{{ c.function.name }}">{% for k, v in c.function.arguments.items() %}{{ "\\n" }}'
        '<｜DSML｜parameter name="{{ k }}" string="{{ "true" if v is string else "false" }}">' + VALUE + "</｜DSML｜parameter>"
        '{% endfor %}{{ "\\n" }}</｜DSML｜invoke>{{ "\\n" }}',
    )
    + "</｜DSML｜function_calls>",
    "granite3": "<|tool_call|>["
    + LISTED.replace("OBJECT", '{"name": "{{ c.function.name }}", "arguments": ' + ARGUMENTS + "}")
    + "]",
    "pythonic": "{{ '' if tools else '[func_name1(a=1)]' }}[" + PYTHON.replace("VALUE", "v | tojson") + "]",
    "lfm2": "<|tool_call_start|>["
    + PYTHON.replace("VALUE", """("'" + v + "'") if v is string else v | tojson""")
    + "]<|tool_call_end|>",
    "function_gemma": EACH.replace("CALL", "<start_function_call>" + BRACED + "<end_function_call>"),
    "gemma4": EACH.replace("CALL", "<|tool_call>" + BRACED.replace("<escape>", '<|"|>') + "<tool_call|>"),
    "mistral": EACH.replace("CALL", "[TOOL_CALLS]{{ c.function.name }}[ARGS]" + ARGUMENTS),
    "mistral_list": "[TOOL_CALLS][{% for c in m.tool_calls %}{% if c.id | length != 9 %}{{ raise_exception('id') }}{% endif %}"
    '{"name": "{{ c.function.name }}", "arguments": ' + ARGUMENTS + ', "id": "{{ c.id }}"}'
    "{% if not loop.last %}, {% endif %}{% endfor %}]",
}
# Llama's template refuses a turn of several calls.
LLAMA = EACH.replace(
    "CALL",
    "<|eot_id|>{{ '{\"name\": \"' + c.function.name + '\", ' }}{{ '\"parameters\": ' }}{{ c.function.arguments | tojson }}}",
)
CALLS: list[tuple[str, Any]] = [("f", {"s": "a b", "i": 1, "o": {"k": [None, True]}}), ("g", {})]
TOOLS = [
    function_tool("f", {"s": {"type": "string"}, "i": {"type": "integer"}, "o": {"type": "object"}}),
    function_tool("g"),
]


def written(template: str, profile: Profile, calls: list[tuple[str, Any]]) -> str:
    """Return what a template writes of a turn of calls, by the messages of a client."""
    functions = [{"name": name, "arguments": json.dumps(arguments)} for name, arguments in calls]
    sent = [{"id": f"call_{number}", "type": "function", "function": function} for number, function in enumerate(functions)]
    results = [{"role": "tool", "tool_call_id": call["id"], "content": "1"} for call in sent]
    messages = [{"role": "user", "content": "?"}, {"role": "assistant", "content": "", "tool_calls": sent}, *results]
    tokenizer = make_tokenizer(template, profile.markers)
    text = tokenizer.decode(PromptRenderer(tokenizer, profile).render(messages, TOOLS, Mode.SHORT))
    return text.split("<assistant>")[1].split("<end>")[0]


@pytest.mark.parametrize("name", TEMPLATES)
def test_earlier_calls_are_in_the_prompt_as_the_model_writes_calls(name: str) -> None:
    template = FRAME.replace("CALLS", TEMPLATES[name])
    tool_format = tool_formats.recognise(template)
    assert tool_format.name == name
    profile = Profile(name="p", think=None, tool_format=tool_format)
    text = written(template, profile, CALLS)
    turn = as_turn(run(profile, [text], "", TOOLS)[0])
    assert turn.content == ""
    assert [(call.name, json.loads(call.arguments)) for call in turn.calls] == CALLS
    if name != "mistral_list":
        assert "".join(text.split()) == "".join(tool_format.render_calls(CALLS).split())


def test_an_earlier_call_of_llama_is_in_the_prompt_as_it_writes_calls() -> None:
    template = FRAME.replace("CALLS", LLAMA)
    tool_format = tool_formats.recognise(template)
    assert tool_format.name == "llama3_json"
    text = written(template, Profile(name="p", think=None, tool_format=tool_format), CALLS[:1])
    assert text == f"<|eot_id|>{tool_format.render_calls(CALLS[:1])}"


def test_a_template_that_refuses_other_ids_still_shows_whether_it_copies_arguments() -> None:
    check = "{% if c.id | length != 9 %}{{ raise_exception('id') }}{% endif %}"
    calls = EACH.replace("CALL", check + "[TOOL_CALLS]{{ c.function.name }}[ARGS]{{ c.function.arguments }}")
    tool_format = tool_formats.get("mistral")
    text = written(FRAME.replace("CALLS", calls), Profile(name="p", think=None, tool_format=tool_format), CALLS)
    assert text == tool_format.render_calls(CALLS)


def test_results_are_found_in_a_template_that_refuses_other_ids() -> None:
    check = "{% for c in m.tool_calls %}{% if c.id | length != 9 %}{{ raise_exception('id') }}{% endif %}{% endfor %}"
    profile = Profile(name="p", think=None, tool_format=tool_formats.get("mistral"))
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    answer = {"role": "assistant", "content": "", "tool_calls": [call]}
    messages = [{"role": "user", "content": "?"}, answer, {"role": "tool", "tool_call_id": "c", "content": "found"}]
    renderer = PromptRenderer(make_tokenizer(FRAME.replace("CALLS", check), profile.markers), profile)
    assert renderer.template.shows("found", messages)
