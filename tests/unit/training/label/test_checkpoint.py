"""Labels by a checkpoint: its answers, how they are parsed, and what is refused."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
import torch
from support.labelling import RIGHT, WRONG, record, run
from support.tiny import make_llama, make_tokenizer
from transformers import LlamaForCausalLM

from autotool_core.calls import Call
from autotool_core.errors import AutoToolError
from autotool_core.modes import Mode, ResolvedMode
from autotool_core.parsing.collect import collect
from autotool_core.parsing.stream import TurnParser
from autotool_core.profile import BUILTIN
from autotool_core.prompt import PromptRenderer
from autotool_server.engines import profiles
from autotool_training.common import records
from autotool_training.label import checkpoint
from autotool_training.label.attempt import LabelAnswer, LabelAttempt, LabelTask
from autotool_training.label.checkpoint import CheckpointSampler
from autotool_training.label.endpoint import SamplingSettings

TOKENIZER = make_tokenizer()
QWEN3_CODER_TEMPLATE = """\
{%- for message in messages %}<|im_start|>{{ message.role }}
{{ message.content }}
{%- for call in message.tool_calls or [] %}
<tool_call>
<function={{ call.function.name }}>
{%- for name, value in call.function.arguments.items() %}
<parameter={{ name }}>
{{ value }}
</parameter>
{%- endfor %}
</function>
</tool_call>
{%- endfor %}<|im_end|>
{% endfor %}
{%- if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a random Llama that can do every mode."""
    folder = tmp_path_factory.mktemp("tiny")
    make_llama(TOKENIZER).save_pretrained(folder)
    TOKENIZER.save_pretrained(folder)
    (folder / "mode_profile.json").write_text(BUILTIN["smollm2-autotool"].model_dump_json())
    return folder


def made_by(model: CheckpointSampler, *tasks: LabelTask) -> list[LabelAttempt]:
    attempts: list[LabelAttempt] = []
    asyncio.run(model.attempt(iter(tasks), attempts.append))
    return sorted(attempts, key=lambda attempt: (attempt.id, attempt.index))


TASKS = [LabelTask(record("x" * length), at) for length in (1, 30, 7) for at in range(2)]


@pytest.mark.parametrize("mode", list(ResolvedMode))
def test_a_checkpoint_gives_the_same_answers_in_any_batch(tiny: Path, mode: ResolvedMode) -> None:
    greedy = SamplingSettings(0.0, 12, 0)
    one, three = (made_by(CheckpointSampler(str(tiny), mode, greedy, batch=size), *TASKS) for size in (1, 4))
    assert len(one) == 6
    assert one == three
    assert one[0].answer == one[1].answer  # of one record, greedily


def test_a_checkpoints_samples_are_fixed_by_the_seed(tiny: Path) -> None:
    def drawn(seed: int) -> list[LabelAttempt]:
        return made_by(CheckpointSampler(str(tiny), ResolvedMode.SHORT, SamplingSettings(1.0, 12, seed), batch=4), *TASKS)

    assert drawn(1) == drawn(1) != drawn(2)
    first, second = drawn(1)[:2]
    assert first.answer != second.answer


@pytest.mark.parametrize(
    ("mode", "text", "wanted"),
    [
        (ResolvedMode.SHORT, RIGHT + "<|im_end|>", LabelAnswer("", (Call("add", {"a": 1}),))),
        (
            ResolvedMode.SHORT,
            f"Both: {RIGHT}\n{WRONG}<|im_end|>junk",
            LabelAnswer("Both:", (Call("add", {"a": 1}), Call("add", {"a": 2}))),
        ),
        (ResolvedMode.LONG, f"One.\n</think>\n\n{RIGHT}<|im_end|>", LabelAnswer("", (Call("add", {"a": 1}),), "One.")),
        (ResolvedMode.LONG, "One.<|im_end|>", LabelAnswer("", (), "One.", whole=False)),
        (ResolvedMode.SHORT, "Cut of", LabelAnswer("Cut of", (), whole=False)),
        (ResolvedMode.SHORT, '<tool_call>\n{"name": "add", "arguments": {"a"<|im_end|>', LabelAnswer("", None)),
    ],
)
def test_a_checkpoints_output_is_parsed_as_on_the_server(
    tiny: Path, monkeypatch: pytest.MonkeyPatch, mode: ResolvedMode, text: str, wanted: LabelAnswer
) -> None:
    prompts: list[list[int]] = []

    def generate(_: Any, input_ids: torch.Tensor, **options: Any) -> torch.Tensor:
        prompts.extend(input_ids[options["attention_mask"].bool()][None].tolist())
        return torch.cat([input_ids, torch.tensor([TOKENIZER.encode(text, add_special_tokens=False)])], dim=1)

    monkeypatch.setattr(LlamaForCausalLM, "generate", generate)
    (attempt,) = made_by(CheckpointSampler(str(tiny), mode, SamplingSettings(0.0, 50, 0), batch=4), LabelTask(record("r"), 0))
    assert attempt.answer == wanted
    task_record = record("r")
    assert prompts == [
        PromptRenderer(TOKENIZER, BUILTIN["smollm2-autotool"]).render(task_record.messages, task_record.tools, Mode(mode))
    ]


def test_a_bare_qwen3_coder_checkpoint_is_labelled_by_the_parser_that_serves_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenizer = make_tokenizer(QWEN3_CODER_TEMPLATE)
    make_llama(tokenizer).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    text = "<tool_call>\n<function=add>\n<parameter=a>\n1\n</parameter>\n</function>\n</tool_call>"
    written = torch.tensor([tokenizer.encode(f"{text}<|im_end|>", add_special_tokens=False)])
    monkeypatch.setattr(LlamaForCausalLM, "generate", lambda _, input_ids, **__: torch.cat([input_ids, written], dim=1))
    model = CheckpointSampler(str(tmp_path), ResolvedMode.SHORT, SamplingSettings(0.0, 90, 0), batch=1)
    (attempt,) = made_by(model, LabelTask(record("r"), 0))
    profile = profiles.find(None, str(tmp_path), tokenizer).profile
    served = TurnParser(profile, profile.prefix(Mode.SHORT), record("r").tools)
    calls = collect([*served.feed(text), *served.finish()]).calls
    assert profile.tool_format.name == "qwen3_coder"
    assert calls
    assert attempt.answer == LabelAnswer("", calls)


def test_a_prompt_beyond_the_context_is_an_unanswered_attempt(tiny: Path) -> None:
    model = CheckpointSampler(str(tiny), ResolvedMode.SHORT, SamplingSettings(0.0, 12, 0), batch=4)
    short, long = made_by(model, LabelTask(record("a"), 0), LabelTask(record("b" * 600), 0))
    assert short.answer is not None
    assert (long.answer, long.error) == (None, checkpoint.LONG_PROMPT)


def test_a_checkpoint_labels_a_file(tiny: Path, tmp_path: Path) -> None:
    records.write(tmp_path / "in.jsonl", [record(name, calls=[], content="No.") for name in "abc"])
    made, counts = run(tmp_path, str(tiny), str(tiny), max_tokens=8)
    assert counts["notes"]["short answers"] == 6
    assert counts["records"] == 3 == len(made) + sum(counts["dropped"].values())


def test_a_model_that_cannot_think_is_refused_for_long(tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    for path in tiny.iterdir():
        if path.name != "mode_profile.json":
            (tmp_path / "plain" / path.name).write_bytes(path.read_bytes())
    for path in (tmp_path / "plain").glob("*template*"):
        path.write_text("{% for message in messages %}{{ message.content }}{% endfor %}")
    plain = str(tmp_path / "plain")
    assert made_by(CheckpointSampler(plain, ResolvedMode.SHORT, SamplingSettings(0.0, 4, 0), batch=4), TASKS[0])[0].answer
    with pytest.raises(AutoToolError, match=r"cannot answer in mode=long: .* another model by --long"):
        made_by(CheckpointSampler(plain, ResolvedMode.LONG, SamplingSettings(0.0, 4, 0), batch=4), TASKS[0])
    with pytest.raises(AutoToolError, match=r"absent: name a checkpoint's folder or hub id, a URL or a file of traces"):
        made_by(CheckpointSampler(str(tmp_path / "absent"), ResolvedMode.LONG, SamplingSettings(0.0, 4, 0), batch=4), TASKS[0])
