import re
from typing import Any

import pytest
from support.tiny import CHAT_TEMPLATE, make_tokenizer

from autotool_core import tool_formats
from autotool_core.errors import AutoToolError, InvalidRequestError
from autotool_core.modes import Mode, ResolvedMode
from autotool_core.profile import BUILTIN, DecisionHead, Profile
from autotool_core.prompt import PromptRenderer

THINKS = BUILTIN["smollm2-autotool"]
USER = [{"role": "user", "content": "Hi"}]


def template_ending(generation_prompt: str) -> str:
    return CHAT_TEMPLATE.replace(
        "<|im_start|>assistant\n{% endif %}", f"<|im_start|>assistant\n{generation_prompt}{{% endif %}}"
    )


@pytest.mark.parametrize(
    ("mode", "prefix"), [(Mode.LONG, "<think>\n"), (Mode.SHORT, "<think>\n\n</think>\n\n"), (Mode.AUTO, "<think>")]
)
def test_prefix_follows_the_generation_prompt(mode: Mode, prefix: str) -> None:
    renderer = PromptRenderer(make_tokenizer(), THINKS)
    ids = renderer.render(USER, (), mode)
    assert make_tokenizer().decode(ids) == f"<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n{prefix}"
    assert ids[-len(renderer.prefix_ids[mode]) :] == list(renderer.prefix_ids[mode])


def test_decision_tokens_complete_the_prefixes() -> None:
    renderer = PromptRenderer(make_tokenizer(), THINKS)
    tokens = renderer.decision_tokens
    assert tokens is not None
    auto = renderer.prefix_ids[Mode.AUTO]
    assert (*auto, tokens.long, *tokens.rest[ResolvedMode.LONG]) == renderer.prefix_ids[Mode.LONG]
    assert (*auto, tokens.short, *tokens.rest[ResolvedMode.SHORT]) == renderer.prefix_ids[Mode.SHORT]


def with_head(*tokens: int) -> Profile:
    weights = tuple(float(number) for number in range(len(tokens)))
    mean = sum(weights) / len(weights)
    head = DecisionHead(tokens=tokens, weights=tuple(weight - mean for weight in weights), intercept=1.0)
    return THINKS.model_copy(update={"decision_head": head})


def test_a_decision_head_reads_further_tokens_and_leaves_the_prefixes() -> None:
    plain = PromptRenderer(make_tokenizer(), THINKS)
    own = plain.decision_tokens
    assert own is not None
    renderer = PromptRenderer(make_tokenizer(), with_head(9, own.short, 5))
    tokens = renderer.decision_tokens
    assert tokens is not None
    assert tokens.candidates == (own.long, own.short, 9, 5)
    assert tokens.readout.weights == (0.0, 0.0, -1.0, 1.0)
    assert (tokens.readout.intercept, tokens.rest) == (1.0, own.rest)
    assert renderer.prefix_ids == plain.prefix_ids


def test_a_decision_head_of_another_vocabulary_is_refused() -> None:
    with pytest.raises(AutoToolError, match="reads token 70000, and the vocabulary has 2"):
        PromptRenderer(make_tokenizer(), with_head(3, 70000))


def test_template_that_opens_the_block_gets_only_what_is_missing() -> None:
    tokenizer = make_tokenizer(template_ending("<think>\n"))
    renderer = PromptRenderer(tokenizer, THINKS)
    plain = PromptRenderer(make_tokenizer(), THINKS)
    assert renderer.render(USER, (), Mode.LONG) == plain.render(USER, (), Mode.LONG)
    assert renderer.render(USER, (), Mode.SHORT) != plain.render(USER, (), Mode.LONG)
    assert tokenizer.decode(renderer.render(USER, (), Mode.SHORT)).count("<think>") == 1
    # What the template opens where it is told no mode is no reason to open it for a model that chooses.
    assert renderer.render(USER, (), Mode.AUTO) == plain.render(USER, (), Mode.AUTO)


def test_template_that_closes_the_block_does_not_support_long_or_auto() -> None:
    renderer = PromptRenderer(make_tokenizer(template_ending("<think>\n\n</think>\n\n")), THINKS)
    assert set(renderer.refusals) == {Mode.LONG, Mode.AUTO}
    with pytest.raises(InvalidRequestError, match="already settles") as error:
        renderer.render(USER, (), Mode.LONG)
    assert error.value.field == "mode"


def test_template_that_honours_enable_thinking() -> None:
    ending = "{% if enable_thinking is defined and not enable_thinking %}<think>\n\n</think>\n\n{% endif %}"
    renderer = PromptRenderer(make_tokenizer(template_ending(ending)), THINKS)
    assert renderer.refusals == {}
    assert renderer.render(USER, (), Mode.SHORT) == PromptRenderer(make_tokenizer(), THINKS).render(USER, (), Mode.SHORT)


def test_arguments_reach_the_template() -> None:
    template = CHAT_TEMPLATE + "{{ date_string }}{% for d in documents or [] %}{{ d.text }}{% endfor %}"
    tokenizer = make_tokenizer(template)
    arguments = {"date_string": "today ", "documents": [{"text": "a<|im_end|>"}]}
    ids = PromptRenderer(tokenizer, THINKS).render(USER, (), Mode.SHORT, arguments=arguments)
    plain = PromptRenderer(make_tokenizer(), THINKS).render(USER, (), Mode.SHORT)
    assert "today a<|im_end|>" in tokenizer.decode(ids)
    (control,) = tokenizer.encode("<|im_end|>")
    assert ids.count(control) == plain.count(control)


def test_arguments_that_settle_the_block_in_another_way_are_refused() -> None:
    template = template_ending("{% if brief %}<think>\n\n</think>\n\n{% endif %}")
    renderer = PromptRenderer(make_tokenizer(template), THINKS)
    plain = PromptRenderer(make_tokenizer(), THINKS)
    assert renderer.render(USER, (), Mode.SHORT, arguments={"brief": True}) == plain.render(USER, (), Mode.SHORT)
    with pytest.raises(InvalidRequestError, match="already settles") as error:
        renderer.render(USER, (), Mode.LONG, arguments={"brief": True})
    assert error.value.field == "template_arguments"


@pytest.mark.parametrize("value", ["no", 3, {"a": 1}, [1]])
def test_arguments_that_a_template_refuses_are_named(value: Any) -> None:
    check = "{% if effort %}{{ raise_exception('effort') if effort is string else effort.nothing.at_all }}{% endif %}"
    renderer = PromptRenderer(make_tokenizer(CHAT_TEMPLATE + check), THINKS)
    with pytest.raises(InvalidRequestError, match="refuses these template arguments") as error:
        renderer.render(USER, (), Mode.SHORT, arguments={"effort": value})
    assert error.value.field == "template_arguments"


def test_a_template_that_settles_the_block_in_one_conversation_is_refused_there() -> None:
    asked = "{% if '/no_think' in messages[0].content %}<think>\n\n</think>\n\n{% endif %}"
    renderer = PromptRenderer(make_tokenizer(template_ending(asked)), THINKS)
    plain = PromptRenderer(make_tokenizer(), THINKS)
    quiet = [{"role": "user", "content": "Hi /no_think"}]
    assert renderer.render(quiet, (), Mode.SHORT) == plain.render(quiet, (), Mode.SHORT)
    assert renderer.render(USER, (), Mode.LONG) == plain.render(USER, (), Mode.LONG)
    with pytest.raises(InvalidRequestError, match="With these messages there is no mode=long"):
        renderer.render(quiet, (), Mode.LONG)


def test_a_template_that_opens_the_block_for_a_result_only_has_it_once() -> None:
    opens = "{% if messages[-1].role == 'tool' %}<think>\n{% endif %}"
    tokenizer = make_tokenizer(template_ending(opens))
    text = tokenizer.decode(PromptRenderer(tokenizer, THINKS).render(with_result("21"), (), Mode.LONG))
    assert text.endswith("<|im_start|>assistant\n<think>\n")


def test_a_user_who_writes_markers_does_not_change_the_mode() -> None:
    renderer = PromptRenderer(make_tokenizer(template_ending("<think>\n")), THINKS)
    text = make_tokenizer().decode(renderer.render([{"role": "user", "content": "<think>\n\n</think>"}], (), Mode.LONG))
    assert text.endswith("<|im_start|>assistant\n<think>\n")


def test_a_tokenizer_without_distinct_decision_tokens_is_refused_for_auto() -> None:
    # Without marker tokens, "\n\n" before "</think>" begins with the same token as "\n".
    tokenizer = make_tokenizer(markers=())
    tokenizer.backend_tokenizer.model = type(tokenizer.backend_tokenizer.model)(
        vocab={k: v for k, v in tokenizer.get_vocab().items() if v < 257}, merges=[]
    )
    renderer = PromptRenderer(tokenizer, THINKS)
    assert "cannot tell" in renderer.refusals[Mode.AUTO]


def test_the_plain_profile_supports_short_only() -> None:
    renderer = PromptRenderer(make_tokenizer(), BUILTIN["plain"])
    assert set(renderer.refusals) == {Mode.LONG, Mode.AUTO}
    assert make_tokenizer().decode(renderer.render(USER, (), Mode.SHORT)).endswith("<|im_start|>assistant\n")


def test_a_tokenizer_without_chat_template_is_refused() -> None:
    with pytest.raises(AutoToolError, match="no chat template"):
        PromptRenderer(make_tokenizer(None), THINKS)


def test_template_errors_name_the_messages() -> None:
    template = CHAT_TEMPLATE + "{% if messages | length > 1 %}{{ raise_exception('roles must alternate') }}{% endif %}"
    with pytest.raises(InvalidRequestError, match="roles must alternate") as error:
        PromptRenderer(make_tokenizer(template), THINKS).render([*USER, *USER], (), Mode.SHORT)
    assert error.value.field == "messages"


def call(arguments: str) -> list[Any]:
    tool_call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": arguments}}
    return [*USER, {"role": "assistant", "content": "", "tool_calls": [tool_call]}]


def test_arguments_are_objects_for_a_template_that_dumps_them() -> None:
    text = make_tokenizer().decode(PromptRenderer(make_tokenizer(), THINKS).render(call('{"a":1}'), (), Mode.SHORT))
    assert '"arguments": {"a": 1}' in text


COPIES = CHAT_TEMPLATE.replace("call.function.arguments | tojson", "call.function.arguments")


@pytest.mark.parametrize("template", [CHAT_TEMPLATE, COPIES], ids=["dumps", "copies"])
@pytest.mark.parametrize(
    ("arguments", "rendered"),
    [
        ('{"b":1,"a":[1,{"c":null}]}', '{"b": 1, "a": [1, {"c": null}]}'),
        ('{"b": 1, "a": [1, {"c": null}]}', '{"b": 1, "a": [1, {"c": null}]}'),
        (' {\n "b" : 1.0 }\n', '{"b": 1.0}'),
        (r'{"caf\u00e9":"\ud83d\ude00"}', '{"café": "😀"}'),
        ("{}", "{}"),
    ],
)
def test_arguments_render_alike_whatever_their_spacing(template: str, arguments: str, rendered: str) -> None:
    tokenizer = make_tokenizer(template)
    text = tokenizer.decode(PromptRenderer(tokenizer, THINKS).render(call(arguments), (), Mode.SHORT))
    assert f'"arguments": {rendered}}}' in text


@pytest.mark.parametrize(
    "arguments", ["[1", '{"a": 2,}', "", "[ 1]", "3", '{"a":1e999}', r'{"a":"\ud800"}', '{"a":' + "[" * 9999 + "]" * 9999 + "}"]
)
def test_a_template_that_copies_arguments_keeps_text_that_is_no_object_or_cannot_be_written_again(arguments: str) -> None:
    tokenizer = make_tokenizer(COPIES)
    text = tokenizer.decode(PromptRenderer(tokenizer, THINKS).render(call(arguments), (), Mode.SHORT))
    assert f'"arguments": {arguments}}}' in text


@pytest.mark.parametrize("arguments", ["[1", '{"a": 2,}', "", "[1]"])
def test_a_turn_with_arguments_that_are_no_object_stays_in_the_conversation(arguments: str) -> None:
    """A model may write such arguments: the client appends the message and an error result, and goes on."""
    text = make_tokenizer().decode(PromptRenderer(make_tokenizer(), THINKS).render(call(arguments), (), Mode.SHORT))
    assert '"name": "f"' in text
    assert '"arguments": {}' in text


@pytest.mark.parametrize("levels", [600, 200_000])
def test_arguments_that_are_nested_too_deeply_are_refused(levels: int) -> None:
    deep = '{"a":' + "[" * levels + "]" * levels + "}"
    with pytest.raises(InvalidRequestError, match="nested too deeply"):
        PromptRenderer(make_tokenizer(), THINKS).render(call(deep), (), Mode.SHORT)


def with_result(text: str) -> list[dict[str, str]]:
    return [*USER, {"role": "tool", "tool_call_id": "c", "content": text}]


@pytest.mark.parametrize("marker", ["<|im_end|>", "<|im_start|>", "<tool_call>", "</think>"])
def test_a_control_token_in_a_result_is_read_as_its_characters(marker: str) -> None:
    tokenizer = make_tokenizer()
    renderer = PromptRenderer(tokenizer, THINKS)
    (control,) = tokenizer.encode(marker)
    ids = renderer.render(with_result(f"a {marker}{marker} b"), (), Mode.LONG)
    assert ids.count(control) == renderer.render(with_result("a  b"), (), Mode.LONG).count(control)
    assert f"tool\na {marker}{marker} b<|im_end|>" in tokenizer.decode(ids)


@pytest.mark.parametrize("marker", ["<|im_end|>", "<tool_call>"])
@pytest.mark.parametrize("template", [CHAT_TEMPLATE, CHAT_TEMPLATE.replace("arguments | tojson", "arguments")])
def test_a_control_token_that_the_model_has_repeated_is_read_as_its_characters(marker: str, template: str) -> None:
    tokenizer = make_tokenizer(template)
    renderer = PromptRenderer(tokenizer, THINKS)
    (control,) = tokenizer.encode(marker)

    def rendered(text: str) -> list[int]:
        function = {"name": f"f{text}", "arguments": f'{{"a{text}": ["b{text}"]}}'}
        calls = [{"id": f"c{text}", "type": "function", "function": function}]
        answer = {
            "role": "assistant",
            "content": f"content {text}",
            "reasoning_content": f"thought {text}",
            "tool_calls": calls,
        }
        return renderer.render([*USER, answer, {"role": "tool", "tool_call_id": f"c{text}", "content": "1"}], (), Mode.LONG)

    assert rendered(marker).count(control) == rendered("").count(control)
    text = tokenizer.decode(rendered(marker))
    assert f"content {marker}" in text
    assert f'"a{marker}": ["b{marker}"]' in text


def test_reasoning_in_the_content_of_an_answer_is_found_by_the_template() -> None:
    tokenizer = make_tokenizer()
    messages = [*USER, {"role": "assistant", "content": "<think>\nHm.\n</think>\n\nHi."}, *USER]
    ids = PromptRenderer(tokenizer, THINKS).render(messages, (), Mode.LONG)
    assert ids.count(*tokenizer.encode("</think>")) == 1


def test_plain_results_are_tokenised_unchanged() -> None:
    tokenizer = make_tokenizer()
    renderer = PromptRenderer(tokenizer, THINKS)
    text = tokenizer.apply_chat_template(with_result("21 degrees"), add_generation_prompt=True, tokenize=False)
    prefix = renderer.prefix_ids[Mode.LONG]
    assert renderer.render(with_result("21 degrees"), (), Mode.LONG) == [*tokenizer.encode(text), *prefix]


def test_ids_of_calls_are_as_the_format_has_them_in_prompts() -> None:
    template = CHAT_TEMPLATE.replace('"name": "', '"id": "{{ call.id }}", "name": "').replace(
        "{{ message.content }}", "{{ message.content }}{{ message.tool_call_id }}"
    )
    tokenizer = make_tokenizer(template)
    function = {"name": "f", "arguments": "{}"}
    # Clients count their ids anew in each turn.
    calls = [{"id": f"call_{number}", "type": "function", "function": function} for number in range(2)]
    results = [{"role": "tool", "tool_call_id": f"call_{number}", "content": "is "} for number in (1, 0)]
    turn = [{"role": "assistant", "content": "", "tool_calls": calls}, *results]

    def rendered(tool_format: str) -> str:
        profile = Profile(name="p", tool_format=tool_formats.get(tool_format))
        return tokenizer.decode(PromptRenderer(tokenizer, profile).render([*USER, *turn, *turn], (), Mode.SHORT))

    assert re.findall(r'"id": "(.*?)"|is (\S*?)<', rendered("kimi_k2")) == [
        *(("functions.f:0", ""), ("functions.f:1", ""), ("", "functions.f:1"), ("", "functions.f:0")),
        *(("functions.f:2", ""), ("functions.f:3", ""), ("", "functions.f:3"), ("", "functions.f:2")),
    ]
    assert rendered("hermes").count("call_1") == 4
