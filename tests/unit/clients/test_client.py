"""The client over real HTTP: what it sends, what comes back, sync and async, streamed and not."""

from collections.abc import Iterator
from typing import Any, assert_type

import openai
import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk, ChatCompletionMessageParam
from pydantic import BaseModel, ValidationError
from support.fake_api import FakeAPI, fake_api
from support.fake_tools import ASKING

from autotool_client import AsyncAutoTool, AutoTool, DecisionRecord, PendingCall, pending_calls, reasoning, record
from autotool_client.errors import user_message

HELLO: list[ChatCompletionMessageParam] = [{"role": "user", "content": "What is 2+2?"}]
ORDER: list[ChatCompletionMessageParam] = [{"role": "user", "content": "order"}]
OURS: dict[str, Any] = {"mode": "long", "reasoning_bias": 0.5, "max_reasoning_tokens": 64, "tool_budget": {"max_turns": 2}}


@pytest.fixture(scope="module")
def server() -> Iterator[FakeAPI]:
    with fake_api() as api:
        yield api


@pytest.fixture
def client(server: FakeAPI) -> Iterator[AutoTool]:
    with AutoTool(base_url=server.url, max_retries=0) as client:
        yield client


def check_record(decision: DecisionRecord | None) -> None:
    assert decision is not None
    (turn,) = decision.turns
    assert (decision.mode, turn.resolved, turn.decided_by, turn.p_long) == ("long", "long", "model", 0.75)
    assert (turn.reasoning_tokens, turn.content_tokens, turn.reasoning_bias) == (7, 2, 0.5)


def check_chunks(chunks: list[ChatCompletionChunk]) -> None:
    choices = [choice for chunk in chunks for choice in chunk.choices]
    assert "".join(choice.delta.content or "" for choice in choices) == "It is 4."
    assert "".join(reasoning(choice.delta) or "" for choice in choices) == "2+2"
    (decision,) = [decision for chunk in chunks if (decision := record(chunk))]
    check_record(decision)


def check_sent(server: FakeAPI) -> None:
    """Check that this server's fields are at the top of the body, next to OpenAI's, and that nothing else was added."""
    sent = {name: value for name, value in server.bodies[-1].items() if name != "stream"}
    assert sent == {"model": "tiny", "messages": HELLO, "temperature": 0.0, **OURS}


def test_completion(server: FakeAPI, client: AutoTool) -> None:
    answer = client.chat.completions.create(model="tiny", messages=HELLO, temperature=0.0, **OURS)
    assert isinstance(answer, ChatCompletion)
    check_sent(server)
    check_record(record(answer))
    assert reasoning(answer.choices[0].message) == "2+2"


def test_stream(server: FakeAPI, client: AutoTool) -> None:
    with client.chat.completions.create(model="tiny", messages=HELLO, temperature=0.0, stream=True, **OURS) as stream:
        check_chunks(list(stream))
    check_sent(server)


async def test_async_completion(server: FakeAPI) -> None:
    async with AsyncAutoTool(base_url=server.url) as client:
        answer = await client.chat.completions.create(model="tiny", messages=HELLO, temperature=0.0, **OURS)
    check_sent(server)
    check_record(record(answer))


async def test_async_stream(server: FakeAPI) -> None:
    async with AsyncAutoTool(base_url=server.url) as client:
        stream = await client.chat.completions.create(model="tiny", messages=HELLO, temperature=0.0, stream=True, **OURS)
        check_chunks([chunk async for chunk in stream])
    check_sent(server)


def test_type_checkers_know_the_type_of_the_result(client: AutoTool) -> None:
    """pyright fails on this file if an overload is wrong."""
    assert_type(client.chat.completions.create(model="tiny", messages=HELLO, mode="auto"), ChatCompletion)
    stream = client.chat.completions.create(model="tiny", messages=HELLO, mode="auto", stream=True)
    assert_type(stream, openai.Stream[ChatCompletionChunk])
    stream.close()
    with pytest.raises(TypeError, match="temprature"):
        client.chat.completions.create(model="tiny", messages=HELLO, temprature=0)  # pyright: ignore[reportCallIssue]


def test_fields_not_given_are_not_sent(server: FakeAPI, client: AutoTool) -> None:
    client.chat.completions.create(model="tiny", messages=HELLO, mode=None)
    assert server.bodies[-1] == {"model": "tiny", "messages": HELLO}


def test_extra_body_is_kept_and_wins(server: FakeAPI, client: AutoTool) -> None:
    client.chat.completions.create(model="tiny", messages=HELLO, mode="long", extra_body={"mode": "short", "top_k": 3})
    assert server.bodies[-1] == {"model": "tiny", "messages": HELLO, "mode": "short", "top_k": 3}


def test_the_official_client_works_unchanged(server: FakeAPI) -> None:
    client = openai.OpenAI(base_url=server.url, api_key="none")
    answer = client.chat.completions.create(model="tiny", messages=HELLO, extra_body={"mode": "long"})
    check_record(record(answer))


def test_official_helpers_still_work(server: FakeAPI, client: AutoTool) -> None:
    with client.chat.completions.stream(model="tiny", messages=HELLO, extra_body={"mode": "long"}) as stream:
        check_chunks([event.chunk for event in stream if event.type == "chunk"])
        assert stream.get_final_completion().choices[0].message.content == "It is 4."
    assert server.bodies[-1]["mode"] == "long"
    assert client.chat.completions.parse(model="tiny", messages=HELLO).choices[0].message.content == "It is 4."
    raw = client.chat.completions.with_raw_response.create(model="tiny", messages=HELLO)
    assert raw.status_code == 200
    copy = client.with_options(timeout=5)
    copy.chat.completions.create(model="tiny", messages=HELLO, mode="short")
    assert server.bodies[-1]["mode"] == "short"


def test_completions_can_be_patched(client: AutoTool) -> None:
    """Mocks put on `client.chat.completions` must stay there, as they do on the official client."""
    assert client.chat.completions is client.chat.completions


def tools_of_the_server() -> Any:
    return [{"type": "server", "name": "shop.order"}]


@pytest.mark.parametrize("approved", [True, False])
def test_approving_goes_on(server: FakeAPI, client: AutoTool, approved: bool) -> None:
    asked: list[PendingCall] = []
    answer = client.chat.completions.create_with_approval(
        lambda call: asked.append(call) or approved, model="tiny", messages=ORDER, tools=tools_of_the_server()
    )
    assert [(call.name, call.arguments) for call in asked] == [("shop.order", '{"sku": "A100", "quantity": 3}')]
    check_approved(server, answer, approved)


async def test_approving_goes_on_async(server: FakeAPI) -> None:
    async def approve(_: PendingCall) -> bool:
        return True

    async with AsyncAutoTool(base_url=server.url) as client:
        for decide in (approve, lambda _: True):
            answer = await client.chat.completions.create_with_approval(
                decide, model="tiny", messages=ORDER, tools=tools_of_the_server()
            )
            check_approved(server, answer, approved=True)


def check_approved(server: FakeAPI, answer: ChatCompletion, approved: bool) -> None:
    first, second = server.bodies[-2:]
    assert (first["messages"], "tool_approvals" in first) == (ORDER, False)
    assert second == first | {"messages": [*ORDER, *ASKING], "tool_approvals": {"call_1": approved}}
    assert answer.choices[0].message.content == ("It is ordered." if approved else "Then not.")
    decision = record(answer)
    assert decision is not None
    assert [message["role"] for message in decision.transcript or ()] == ["assistant", "tool", "assistant"]


def test_pending_calls_of_a_stream_and_of_an_answer_without_any(client: AutoTool) -> None:
    with client.chat.completions.create(model="tiny", messages=ORDER, stream=True) as stream:
        pending = [call for chunk in stream for call in pending_calls(chunk)]
    assert [call.id for call in pending] == ["call_1"]
    assert pending_calls(client.chat.completions.create(model="tiny", messages=HELLO)) == []


@pytest.mark.parametrize(
    ("given", "complete"),
    [
        ("http://here:8000", "http://here:8000/v1/"),
        ("http://here:8000/", "http://here:8000/v1/"),
        ("http://here/v1/", "http://here/v1/"),
        ("https://here/behind/v1", "https://here/behind/v1/"),
        ("here:8000", "http://here:8000/v1/"),
        ("here/v1", "http://here/v1/"),
    ],
)
def test_a_base_url_is_completed(given: str, complete: str) -> None:
    assert str(AutoTool(base_url=given).base_url) == complete


@pytest.mark.parametrize("kind", [AutoTool, AsyncAutoTool])
def test_defaults(kind: type[AutoTool | AsyncAutoTool], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "not for this server")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://elsewhere/v1")
    for variable in ("AUTOTOOL_BASE_URL", "AUTOTOOL_API_KEY"):
        monkeypatch.delenv(variable, raising=False)
    assert (str(kind().base_url), kind().api_key) == ("http://localhost:8000/v1/", "none")
    monkeypatch.setenv("AUTOTOOL_BASE_URL", "http://here/v1")
    monkeypatch.setenv("AUTOTOOL_API_KEY", "sesame")
    assert (str(kind().base_url), kind().api_key) == ("http://here/v1/", "sesame")
    given = kind(base_url="http://there/v1", api_key="mine")
    assert (str(given.base_url), given.api_key) == ("http://there/v1/", "mine")


def test_a_stock_server_has_no_record() -> None:
    with fake_api(with_record=False) as api, AutoTool(base_url=api.url) as client:
        assert record(client.chat.completions.create(model="tiny", messages=HELLO)) is None


class Message(BaseModel, extra="allow"):
    """Stands for a message with fields that openai's types do not have."""


def test_reasoning_under_either_name() -> None:
    assert reasoning(Message.model_validate({"reasoning": "a"})) == "a"
    assert reasoning(Message.model_validate({"reasoning_content": "b"})) == "b"
    assert reasoning(Message.model_validate({"reasoning": None, "reasoning_content": "b"})) == "b"
    assert reasoning(Message()) is None


def test_unknown_fields_of_a_record_are_kept_and_a_wrong_record_is_refused() -> None:
    turn = {"choice": 0, "resolved": "short", "decided_by": "request", "p_long": None, "reasoning_bias": 0.0}
    counts = dict.fromkeys(("prefix_tokens", "decision_tokens", "reasoning_tokens", "content_tokens"), 1)
    newer = {"mode": "short", "turns": [turn | counts | {"reasoning_truncated": False, "tool_calls": ["add"], "new": 1}]}
    decision = record(Message.model_validate({"autotool": newer}))
    assert decision is not None
    assert decision.model_dump(mode="json", exclude_unset=True) == newer
    with pytest.raises(ValidationError):
        record(Message.model_validate({"autotool": {"mode": "fast", "turns": []}}))


def test_errors_become_one_sentence(server: FakeAPI, client: AutoTool) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(model="tiny", messages=[{"role": "user", "content": "refuse"}])
    assert user_message(refused.value) == "Send less."
    with pytest.raises(openai.NotFoundError) as lost:
        AutoTool(base_url=f"{server.url}/v2").models.list()
    assert user_message(lost.value) == f"{server.url}/v2/models answered 404; a base URL ends in /v1."
    with pytest.raises(openai.APIConnectionError) as gone:
        AutoTool(base_url="http://127.0.0.1:9/v1", max_retries=0).models.list()
    assert "Cannot reach http://127.0.0.1:9/v1/models" in user_message(gone.value)
