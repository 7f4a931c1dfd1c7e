"""What the server finds about a checkpoint: its think block, its tool-call format and its modes, and why."""

import json
from collections.abc import Iterator
from typing import cast

import typer

from autotool_core.modes import Mode
from autotool_core.profile import Profile
from autotool_core.prompt import PromptRenderer
from autotool_core.tokenizer import Tokenizer
from autotool_server import default_model
from autotool_server.engines import checkpoint as checkpoints
from autotool_server.engines import profiles


def show(checkpoint: str | None, profile: str | None, *, as_json: bool) -> None:
    """Print what is found about a checkpoint, without one about the default model, or its profile.

    Raises AutoToolError if it has no tokenizer or no chat template, or if there is no such profile.
    """
    checkpoint = default_model.resolve(checkpoint) if checkpoint else str(default_model.ensure())
    tokenizer = cast("Tokenizer", checkpoints.load_tokenizer(checkpoint))
    recognition = profiles.find(profile, checkpoint, tokenizer)
    if as_json:
        typer.echo(recognition.profile.model_dump_json(indent=2))
        return
    renderer = PromptRenderer(tokenizer, recognition.profile)
    facts = {"checkpoint": checkpoint, **_facts(recognition.profile, renderer)}
    modes = {str(mode): _mode(mode, tokenizer, recognition.profile, renderer) for mode in Mode}
    for name, text in {**facts, **modes}.items():
        typer.echo(f"{name:<12}{text}")
    typer.echo("\n".join(("", *recognition.reasons)))


def _facts(profile: Profile, renderer: PromptRenderer) -> dict[str, str]:
    think, calls = profile.think, profile.tool_format.name
    return {
        "profile": profile.name,
        "think block": f"{think.open} … {think.close}" if think is not None else "none",
        "tool calls": calls if renderer.template.shows_tools else f"{calls}, but the chat template shows no tools",
        "efforts": ", ".join(renderer.efforts) or "none that the chat template knows",
    }


def _mode(mode: Mode, tokenizer: Tokenizer, profile: Profile, renderer: PromptRenderer) -> str:
    if mode in renderer.refusals:
        return f"no: {renderer.refusals[mode]}"
    return "yes: " + ", ".join(_ways(mode, tokenizer, profile, renderer))


def _ways(mode: Mode, tokenizer: Tokenizer, profile: Profile, renderer: PromptRenderer) -> Iterator[str]:
    """Yield how a mode is brought about."""
    yield f"begins with {_quoted(profile.prefix(mode))}" if profile.prefix(mode) else "no response prefix"
    if arguments := profile.template_arguments[mode]:
        given = ", ".join(f"{name}={json.dumps(value)}" for name, value in arguments.items())
        yield f"template arguments {given}"
    if mode is Mode.AUTO and (tokens := renderer.decision_tokens) is not None:
        long, short = (_quoted(tokenizer.decode([token])) for token in (tokens.long, tokens.short))
        if profile.decision_head is not None:
            number = len(profile.decision_head.tokens)
            yield f"a decision head that reads {number} tokens decides: {long} is long, {short} is short"
        else:
            yield f"the model's next token decides: {long} is long, {short} is short"
        if profile.decision_bias:
            yield f"{profile.decision_bias:+g} log-odds are added to long"


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
