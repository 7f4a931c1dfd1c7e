"""`POST /tokenize` and `/detokenize` in vLLM's form. Messages are rendered as a chat completion's would be."""

from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Request
from pydantic import ConfigDict, Field, model_validator
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response

from autotool_core.errors import InvalidRequestError
from autotool_core.modes import Mode
from autotool_server.api import auth
from autotool_server.api import body as bodies
from autotool_server.api.chat_completions.request import conversation_request
from autotool_server.api.chat_completions.schemas import ChatRequest, FunctionTool, Message
from autotool_server.api.disconnect import ClientGoneError, while_connected
from autotool_server.api.fields import MAX_INT32, Body, ServerTool, TemplateFields
from autotool_server.api.metrics import CLIENT_GONE
from autotool_server.api.openapi import Operation, documented
from autotool_server.api.state import ServerState
from autotool_server.conversation.service import ConversationService

router = APIRouter()

BodyT = TypeVar("BodyT", bound=Body)
Work = Callable[[BodyT, ConversationService], Awaitable[Body]]


class TokenizeRequest(TemplateFields):
    """The body of `/tokenize`: a prompt or messages."""

    model_config = ConfigDict(json_schema_extra={"oneOf": [{"required": ["prompt"]}, {"required": ["messages"]}]})

    model: str | None = None
    prompt: str | None = None
    messages: Annotated[list[Message], Field(min_length=1)] | None = None
    tools: list[Annotated[FunctionTool | ServerTool, Field(discriminator="type")]] | None = None
    mode: Mode | None = None
    """Mode whose response prefix ends the prompt."""
    add_generation_prompt: bool = True
    """Whether messages are followed by what a chat completion puts there: the generation prompt and the response prefix."""
    add_special_tokens: bool = True
    """Whether the tokens that begin a sequence are put before a prompt; the chat template decides for messages."""
    return_token_strs: bool = False

    @model_validator(mode="after")
    def _has_prompt_or_messages(self) -> "TokenizeRequest":
        if (self.prompt is None) == (self.messages is None):
            raise ValueError("send either prompt or messages")
        return self


class TokenizeResponse(Body):
    """The answer of `/tokenize`."""

    count: int
    max_model_len: int
    tokens: list[int]
    token_strs: list[str] | None = None
    """The tokens as the vocabulary writes them."""


class DetokenizeRequest(Body):
    """The body of `/detokenize`."""

    model: str | None = None
    tokens: list[Annotated[int, Field(ge=0, le=MAX_INT32)]]


class DetokenizeResponse(Body):
    """The answer of `/detokenize`."""

    prompt: str


@router.post("/tokenize")
@documented(Operation(TokenizeRequest, TokenizeResponse))
async def tokenize(request: Request) -> Response:
    """Return the token ids of a text or of a conversation."""
    return await _answer(request, TokenizeRequest, _tokenize)


@router.post("/detokenize")
@documented(Operation(DetokenizeRequest, DetokenizeResponse))
async def detokenize(request: Request) -> Response:
    """Return the text of token ids, special tokens included."""
    return await _answer(request, DetokenizeRequest, _detokenize)


async def _answer(request: Request, body_type: type[BodyT], work: Work[BodyT]) -> Response:
    state = auth.enter(auth.every_key(request), request)
    _ = state.service  # refused while the engine starts, before the body is read
    try:
        with ExitStack() as stack:
            stack.enter_context(state.quotas.place(state.key))
            stack.enter_context(state.admission.slot(state.key_name))
            raw = await bodies.read(request, state, stack)
            with state.shutdown.cuts():
                return await while_connected(request.receive, _response(state, raw, body_type, work))
    except (ClientDisconnect, ClientGoneError):
        return Response(status_code=CLIENT_GONE)


async def _response(state: ServerState, raw: bytes, body_type: type[BodyT], work: Work[BodyT]) -> JSONResponse:
    run = state.service.texts.run
    parsed = await run(bodies.parse, body_type, raw, state.settings.unknown_fields)
    answer = await work(parsed.body, state.service)
    return await run(lambda: JSONResponse(answer.model_dump(), headers=bodies.ignored_header(parsed.ignored)))


async def _tokenize(body: TokenizeRequest, service: ConversationService) -> TokenizeResponse:
    ids = await _prompt_ids(body, service)
    return await service.texts.run(_tokens, body, ids, service)


def _tokens(body: TokenizeRequest, ids: list[int], service: ConversationService) -> TokenizeResponse:
    pieces = service.engine.tokenizer.backend_tokenizer.id_to_token
    texts = [pieces(token_id) for token_id in ids] if body.return_token_strs else None
    return TokenizeResponse(count=len(ids), max_model_len=service.engine.max_model_len, tokens=ids, token_strs=texts)


async def _prompt_ids(body: TokenizeRequest, service: ConversationService) -> list[int]:
    run, prompt = service.texts.run, body.prompt
    if prompt is not None:
        service.resolve_model(body.model, "model")
        return await run(lambda: service.engine.tokenizer.encode(prompt, add_special_tokens=body.add_special_tokens))
    request = await run(lambda: conversation_request(_chat_request(body, service.model)))
    return await service.prompt_ids(request, run, generation_prompt=body.add_generation_prompt)


def _chat_request(body: TokenizeRequest, model: str) -> ChatRequest:
    """Return the chat completion that has the messages of a body, of `model` unless the body names another."""
    shared: dict[str, Any] = {name: getattr(body, name) for name in ("messages", "tools", "mode", "chat_template_kwargs")}
    return ChatRequest(model=body.model or model, **shared)


async def _detokenize(body: DetokenizeRequest, service: ConversationService) -> DetokenizeResponse:
    return await service.texts.run(_text, body, service)


def _text(body: DetokenizeRequest, service: ConversationService) -> DetokenizeResponse:
    service.resolve_model(body.model, "model")
    tokenizer = service.engine.tokenizer
    if max(body.tokens, default=0) >= len(tokenizer):
        raise InvalidRequestError("tokens names a token id that is not in the vocabulary.", "tokens")
    # By the backend, as answers are decoded: the tokenizer itself may drop spaces.
    return DetokenizeResponse(prompt=tokenizer.backend_tokenizer.decode(body.tokens, skip_special_tokens=False))
