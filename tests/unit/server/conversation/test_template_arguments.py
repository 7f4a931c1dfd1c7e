from typing import Any

import pytest

from autotool_core.errors import InvalidRequestError
from autotool_core.modes import Mode
from autotool_core.profile import BUILTIN
from autotool_server.conversation.request import ConversationRequest
from autotool_server.conversation.template_arguments import TemplateArguments

QWEN3_8 = ("low", "medium", "xhigh")


def request(effort: str | None = None, **arguments: Any) -> ConversationRequest:
    return ConversationRequest([], template_arguments=arguments, effort=effort)


def read(efforts: tuple[str, ...] = ()) -> TemplateArguments:
    return TemplateArguments(BUILTIN["qwen3"], efforts)


@pytest.mark.parametrize(("value", "mode"), [(True, Mode.LONG), (False, Mode.SHORT)])
@pytest.mark.parametrize("name", ["enable_thinking", "thinking"])
def test_the_arguments_of_the_modes_choose_one(name: str, value: bool, mode: Mode) -> None:
    given = request(None, **{name: value}, preserve_thinking=True)
    assert read().mode_hints(given) == {f"chat_template_kwargs.{name}": mode}
    assert read().arguments(given) == {"preserve_thinking": True}


def test_an_argument_without_value_chooses_nothing() -> None:
    assert read().mode_hints(request(enable_thinking=None)) == {}
    assert read().arguments(request(enable_thinking=None)) == {}


@pytest.mark.parametrize("value", [1, "true", [True]])
def test_a_value_that_is_no_mode_is_refused(value: Any) -> None:
    with pytest.raises(InvalidRequestError, match="must be true or false") as error:
        read().mode_hints(request(enable_thinking=value))
    assert error.value.field == "chat_template_kwargs.enable_thinking"


@pytest.mark.parametrize("name", ["messages", "tools", "add_generation_prompt", "tokenize", "chat_template", "mode"])
def test_what_the_server_sets_is_refused_by_name(name: str) -> None:
    with pytest.raises(InvalidRequestError, match=f"{name} is set by the server") as error:
        read().arguments(request(None, **{name: 1}))
    assert error.value.field == f"chat_template_kwargs.{name}"


@pytest.mark.parametrize(
    ("effort", "sent"),
    [
        ("none", None),
        ("minimal", None),
        ("low", "low"),
        ("medium", "medium"),
        ("high", "xhigh"),
        ("max", "xhigh"),
        (None, None),
    ],
)
def test_an_effort_is_the_templates_next_one(effort: str | None, sent: str | None) -> None:
    assert read(QWEN3_8).arguments(request(effort)) == ({"reasoning_effort": sent} if sent is not None else {})
    assert read().arguments(request(effort)) == {}


def test_the_templates_own_argument_goes_before_the_effort() -> None:
    assert read(QWEN3_8).arguments(request("low", reasoning_effort="xhigh")) == {"reasoning_effort": "xhigh"}
