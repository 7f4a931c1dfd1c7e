"""The service that makes a job of a request. It refuses everything that can be refused before the engine sees it."""

import copy
import time
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace

from autotool_core import modes
from autotool_core.errors import AutoToolError, InvalidRequestError
from autotool_core.modes import Mode
from autotool_core.profile import Profile
from autotool_core.prompt import PromptRenderer
from autotool_server.conversation.approvals import PastCalls, past_calls
from autotool_server.conversation.budgets import DefaultBudgets
from autotool_server.conversation.caller import ANYBODY, Caller
from autotool_server.conversation.choice import Choice
from autotool_server.conversation.counts import check_counts
from autotool_server.conversation.job import Job
from autotool_server.conversation.loop_types import Budget, NextTurn, ServerTools
from autotool_server.conversation.request import ConversationRequest, ToolBudget
from autotool_server.conversation.request_defaults import RequestDefaults
from autotool_server.conversation.schema_task import first_field, task_text
from autotool_server.conversation.schema_workers import SchemaWorkers
from autotool_server.conversation.schemas import Schemas
from autotool_server.conversation.template_abilities import TemplateAbilities
from autotool_server.conversation.template_arguments import TemplateArguments
from autotool_server.conversation.text_threads import Run, TextThreads
from autotool_server.conversation.tool_loop import ToolLoop
from autotool_server.conversation.turn import Turn
from autotool_server.conversation.turn_request import TurnRequest
from autotool_server.conversation.turn_requests import RequestContext, TurnRequests, of_choice
from autotool_server.engines.base import Engine
from autotool_server.settings import EFFORTS, Effort, GenerationConfig, Settings
from autotool_server.targets import Targets
from autotool_server.targets.controller import Controller
from autotool_server.targets.load import LoadRelief
from autotool_server.tools.audit import Audit
from autotool_server.tools.base import Tool
from autotool_server.tools.registry import Registry
from autotool_server.tracing import spans


class ConversationService:
    """Turns requests into jobs for one served model."""

    def __init__(
        self,
        engine: Engine,
        profile: Profile,
        model: str,
        settings: Settings,
        registry: Registry | None = None,
        *,
        generation_config: GenerationConfig | None = None,
    ) -> None:
        self.engine = engine
        self.model = model
        self.settings = settings
        self.caller = ANYBODY
        self.registry = registry or Registry()
        self.defaults = RequestDefaults.of(settings, generation_config or GenerationConfig())
        """What requests get that leave it out."""
        self.started = int(time.time())
        """Unix time, in seconds."""
        self._profile = _with_closing_phrase(profile, settings.closing_phrase)
        self.renderer = PromptRenderer(engine.tokenizer, self._profile)
        self.default_mode = _default_mode(settings, self.renderer)
        """The mode of requests that ask for none."""
        self._template = TemplateArguments(self._profile, self.renderer.efforts)
        self.template_abilities = TemplateAbilities(self.renderer.template)
        """Which messages the chat template can show."""
        budgets = DefaultBudgets.of(settings, profile)
        self._turn_requests = TurnRequests(engine, self.renderer, self._profile, budgets)
        self.least_tokens = self._turn_requests.least_tokens
        """Returns the least number of tokens of a text."""
        self.schemas = Schemas(SchemaWorkers(settings.schema_seconds))
        self.texts = TextThreads()
        self.targets = Targets(settings)
        self.load = LoadRelief.of(settings)
        """What turns are spared while requests wait."""

    def for_caller(self, caller: Caller) -> "ConversationService":
        """Return this service as it is for a caller: it refuses what the caller may not use."""
        service = copy.copy(self)
        service.caller = caller
        return service

    def close(self) -> None:
        """End the processes and threads of the service."""
        self.schemas.workers.close()
        self.texts.close()

    async def prompt_ids(self, request: ConversationRequest, run: Run, *, generation_prompt: bool = True) -> list[int]:
        """Return the token ids of a request's prompt, those of the response prefix included. Raises InvalidRequestError.

        Without `generation_prompt`, those of the conversation alone. `run` runs what takes long for a long prompt.
        """
        text = await run(task_text, request, (), self._profile.tool_format)
        await self.schemas.grammars(text, first_field(request))
        return await run(self._prompt_ids, request, generation_prompt)

    def _prompt_ids(self, request: ConversationRequest, generation_prompt: bool) -> list[int]:
        return self._turn_requests.prompt_ids(self._context(request), generation_prompt=generation_prompt)

    @property
    def names(self) -> tuple[str, ...]:
        """The names under which the model is served, the first of them its own; each may be followed by `:MODE`."""
        return self.model, *self.settings.model_aliases

    def resolve_model(self, model: str | None, field: str) -> Mode | None:
        """Return the mode that a model's name asks for, None for none.

        Raises InvalidRequestError for an unknown model, and for one that the caller may not use.
        """
        self.caller.check_model(self.names, field)
        if model is None or model in self.names:
            return None
        name, mode = modes.split_alias(model)
        if mode is None or name not in self.names:
            message = "This model is not served here. GET /v1/models lists what is."
            raise InvalidRequestError(message, field, code="model_not_found", status=404)
        return mode

    async def prepare(self, request: ConversationRequest, run: Run) -> Job:
        """Validate, resolve the mode, render the prompt. Raises InvalidRequestError, naming the field.

        `run` runs what takes long for a long prompt; schemas are worked on in processes of their own.
        """
        checked = await run(self._checked, request)
        with spans.current().child("schemas") if checked.schemas is not None else nullcontext():
            grammars = await self.schemas.grammars(checked.schemas, first_field(request))
        return await run(self._job, replace(checked, context=replace(checked.context, grammars=grammars)))

    def _checked(self, request: ConversationRequest) -> "_Checked":
        check_counts(request, self.settings.max_choices)
        budget = self._budget(request)
        context = self._context(self.defaults.bounded(request))
        past = past_calls(request, context.server_tools)
        in_loop = bool(context.server_tools) and (request.tool_choice != "none" or bool(past.waiting))
        shapes = self._turn_requests.shapes(context, in_loop=in_loop)
        text = task_text(context.request, shapes, self._profile.tool_format)
        return _Checked(context, budget, past, in_loop, text)

    def _job(self, checked: "_Checked") -> Job:
        request = checked.context.request
        # Of a request that decides: the others are not to be followed.
        target = self._target(request) if checked.context.mode is Mode.AUTO else None
        context = replace(checked.context, target=target)
        first = self._turn_requests.first(context)
        if checked.in_loop:
            choices = [self._tool_loop(context, self._turn(first), checked.budget, checked.past)]
        else:
            choices = [Choice(self._turn(of_choice(first, index))) for index in range(request.num_choices)]
        return Job(
            request.answer_id or request.id,
            self.model,
            context.mode,
            choices,
            request.ignored,
            request.effort,
            sampling=context.sampling,
            priority=context.priority,
        )

    def _context(self, request: ConversationRequest) -> RequestContext:
        tools = self._server_tools(request)
        if not self.template_abilities.parallel_calls:
            request = replace(request, parallel_tool_calls=False)
        sampling = request.sampling.filled(self.defaults.sampling)
        arguments = self._template.arguments(request)
        priority = self.caller.priority_of(request.priority)
        self._check_target(request)
        return RequestContext(request, self._mode(request), tools, self._effort(request), arguments, sampling, priority)

    def first_turn(self, request: ConversationRequest) -> TurnRequest:
        """Return what the first turn of a request without tools and schemas needs. Raises InvalidRequestError."""
        return self._turn_requests.first(self._context(request))

    def _turn(self, request: TurnRequest) -> Turn:
        return Turn(self.engine, self.renderer, self._profile, request, load=self.load, model=self.model)

    def _tool_loop(self, context: RequestContext, first: Turn, budget: Budget, past: PastCalls) -> ToolLoop:
        async def make_turn(step: NextTurn) -> Turn:
            with spans.current().child("prepare", {"autotool.turn": step.number}):
                # Rendering and tokenising a long history would hold up every other stream.
                return self._turn(await self.texts.run(self._turn_requests.later, context, step))

        return ToolLoop(first, make_turn, self._server_tools_config(context, budget, past))

    def _server_tools_config(self, context: RequestContext, budget: Budget, past: PastCalls) -> ServerTools:
        names = frozenset(tool.function["name"] for tool in context.request.client_tools)
        may_be_long = Mode.LONG not in self.renderer.refusals and self.caller.may_ask_for(Mode.LONG)
        escalate = self.settings.escalate and may_be_long
        registry = self.registry
        return ServerTools(
            context.server_tools,
            names,
            budget,
            registry.secrets,
            escalate,
            past,
            registry.approved.of_key(self.caller.name),
            registry.limits,
            Audit(registry.audit_log, self.caller.name),
        )

    def _server_tools(self, request: ConversationRequest) -> Mapping[str, Tool]:
        named = {tool.name: tool.field for tool in request.server_tools}
        fields = request.fields
        for field, subject, value in (
            (fields.tool_budget, fields.tool_budget, request.tool_budget),
            (fields.tool_approvals, fields.decision, request.tool_approvals),
        ):
            if value is not None and not named:
                raise InvalidRequestError(f"{subject} is only allowed with server tools in {fields.tools}.", field)
        if not named:
            return {}
        if request.num_choices > 1:
            raise InvalidRequestError(
                f"{fields.num_choices} must be 1 with server tools, which would run once for each.", fields.num_choices
            )
        if not self.template_abilities.results:
            raise InvalidRequestError("The model's chat template has no place for results of tools.", fields.tools)
        chosen = self.registry.choose(named)
        for name in chosen:
            self.caller.check_tool(name, named.get(name, fields.tools))
        if not request.can_ask_approval and any(tool.spec.policy.approval != "never" for tool in chosen.values()):
            raise InvalidRequestError(
                "A server tool needs the user's approval, for which this API has no form. Use /v1/chat/completions or "
                "/v1/responses, or name the other tools.",
                fields.tools,
            )
        return chosen

    def _budget(self, request: ConversationRequest) -> Budget:
        settings, field = self.settings, request.fields.tool_budget
        ceilings = {
            "max_turns": settings.max_tool_turns,
            "max_calls": settings.max_tool_calls,
            "max_seconds": settings.max_tool_seconds,
        }
        given = {name: value for name, value in asdict(request.tool_budget or ToolBudget()).items() if value is not None}
        for name, value in given.items():
            if value > ceilings[name]:
                raise InvalidRequestError(f"{name} can be at most {ceilings[name]:g} here.", f"{field}.{name}")
        return Budget(**(ceilings | given))

    def _mode(self, request: ConversationRequest) -> Mode:
        fields = request.fields
        alias = self.resolve_model(request.model, fields.model)
        effort = self._effort(request)
        # Agents send an effort to every model: one that cannot think in that way answers in its default mode.
        sets_mode = effort is not None and request.effort_sets_mode and effort.mode not in self.renderer.refusals
        of_effort = effort.mode if effort is not None and sets_mode else None
        hints = {**request.mode_hints, **self._template.mode_hints(request)}
        requested = {fields.mode: request.mode, fields.model: alias, **hints, fields.effort: of_effort}
        mode = modes.resolve(requested, self.default_mode)
        self.caller.check_mode(mode, fields.mode)
        return mode

    def _check_target(self, request: ConversationRequest) -> None:
        if request.reasoning_bias is not None and request.target is not None:
            message = "reasoning_bias and target disagree: the server finds the bias of a target. Send only one of them."
            raise InvalidRequestError(message, "target")
        self.targets.check(request.target)

    def _target(self, request: ConversationRequest) -> Controller | None:
        if request.reasoning_bias is not None:
            return None
        caller = self.caller
        return self.targets.choose(requested=request.target, key=caller.name, of_key=caller.target, model=request.model)

    def _effort(self, request: ConversationRequest) -> Effort | None:
        if request.effort is None:
            return None
        effort = self.settings.effort_of(request.effort)
        if effort is None:
            names = ", ".join({**EFFORTS, **self.settings.effort})
            raise InvalidRequestError(f"{request.fields.effort} must be one of {names}.", request.fields.effort)
        return effort


@dataclass(frozen=True, slots=True)
class _Checked:
    """A request whose fields have been checked, except for schemas and prompt."""

    context: RequestContext
    budget: Budget
    past: PastCalls
    in_loop: bool
    schemas: str | None
    """The task of its schemas; None without any."""


def _default_mode(settings: Settings, renderer: PromptRenderer) -> Mode:
    """Return the mode that the settings name, else the first that the model has of auto, long and short.

    Raises AutoToolError for a profile with which the checkpoint has none.
    """
    served = [mode for mode in Mode if mode not in renderer.refusals]
    if not served:
        reasons = " ".join(f"{mode}: {reason}" for mode, reason in renderer.refusals.items())
        raise AutoToolError(f"Setting profile: with this profile the checkpoint has no mode at all. {reasons}")
    return settings.default_mode if "default_mode" in settings.model_fields_set else served[0]


def _with_closing_phrase(profile: Profile, phrase: str | None) -> Profile:
    if phrase is None or profile.think is None:
        return profile
    return profile.model_copy(update={"think": profile.think.model_copy(update={"closing_phrase": phrase})})
