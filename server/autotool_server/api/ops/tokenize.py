"""`POST /tokenize` and `/detokenize` in vLLM's form. Messages are rendered as a chat completion's would be."""

from typing import Annotated, Any

from fastapi import APIRouter, Request
from pydantic import ConfigDict, Field, model_validator
from starlette.responses import Response

from autotool_core.errors import InvalidRequestError
from autotool_core.modes import Mode
from autotool_server.api.chat_completions.request import conversation_request
from autotool_server.api.chat_completions.schemas import ChatRequest, FunctionTool, Message
from autotool_server.api.fields import MAX_INT32, Body, ServerTool, TemplateFields
from autotool_server.api.openapi import Operation, documented
from autotool_server.api.ops.answer import answer
from autotool_server.api.state import ServerState
from autotool_server.conversation.service import ConversationService

router = APIRouter()


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
    return await answer(request, TokenizeRequest, _tokenize)


@router.post("/detokenize")
@documented(Operation(DetokenizeRequest, DetokenizeResponse))
async def detokenize(request: Request) -> Response:
    """Return the text of token ids, special tokens included."""
    return await answer(request, DetokenizeRequest, _detokenize)


async def _tokenize(body: TokenizeRequest, state: ServerState) -> TokenizeResponse:
    service = state.service
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


async def _detokenize(body: DetokenizeRequest, state: ServerState) -> DetokenizeResponse:
    return await state.service.texts.run(_text, body, state.service)


def _text(body: DetokenizeRequest, service: ConversationService) -> DetokenizeResponse:
    service.resolve_model(body.model, "model")
    tokenizer = service.engine.tokenizer
    if max(body.tokens, default=0) >= len(tokenizer):
        raise InvalidRequestError("tokens names a token id that is not in the vocabulary.", "tokens")
    # By the backend, as answers are decoded: the tokenizer itself may drop spaces.
    return DetokenizeResponse(prompt=tokenizer.backend_tokenizer.decode(body.tokens, skip_special_tokens=False))
