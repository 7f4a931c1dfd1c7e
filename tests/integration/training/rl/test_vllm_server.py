"""Rollouts by a server while LoRA is trained: what TRL's client is given is the base with the adapter of the step merged in.

The client is one that keeps a model in this process in place of the server's, since TRL sends weights by NCCL alone.
"""

import importlib.util
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
from support.training import records
from transformers import AutoConfig, AutoModelForCausalLM

from autotool_training.common.checkpoint import load_checkpoint
from autotool_training.common.lora import LoraSettings
from autotool_training.rl import run
from autotool_training.rl.run_settings import RlSettings
from autotool_training.rl.settings import ObjectiveSettings

CHECKPOINT = Path(__file__).parents[4] / "training" / "checkpoints" / "graded-tiny"


class Client:
    """What is used of TRL's client. Its model has none of the trained weights before it is given them."""

    def __init__(self, **_: Any) -> None:
        self.model: Any = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(CHECKPOINT)).eval()

    def init_communicator(self, **_: Any) -> None:
        """There is nothing to connect."""

    def reset_prefix_cache(self) -> None:
        """Nothing is kept."""

    def update_named_params(
        self, metadata: list[tuple[str, str, list[int]]], params: Iterable[tuple[str, torch.Tensor]]
    ) -> None:
        given = {name: weight.clone() for name, weight in params}
        assert [(name, str(one.dtype).removeprefix("torch."), list(one.shape)) for name, one in given.items()] == metadata
        assert given.keys() == dict(self.model.named_parameters()).keys()
        self.model.load_state_dict(given, strict=False)

    def generate(self, prompts: list[list[int]], n: int, max_tokens: int, **_: Any) -> dict[str, Any]:
        answers = [self._answer(prompt, max_tokens) for prompt in prompts for _ in range(n)]
        tokens, logps = zip(*answers, strict=True)
        return {
            "prompt_ids": prompts,
            "completion_ids": list(tokens),
            "logprobs": [[[logp] for logp in row] for row in logps],
            "logprob_token_ids": [[[token] for token in row] for row in tokens],
        }

    def _answer(self, prompt: list[int], max_tokens: int) -> tuple[list[int], list[float]]:
        sizes = {"max_new_tokens": max_tokens, "return_dict_in_generate": True, "output_scores": True}
        made = self.model.generate(torch.tensor([prompt]), do_sample=True, top_k=0, pad_token_id=0, **sizes)
        tokens = made.sequences[0, len(prompt) :].tolist()
        scores = [torch.log_softmax(score[0], -1) for score in made.scores]
        return tokens, [score[token].item() for score, token in zip(scores, tokens, strict=True)]


def test_the_server_decodes_by_the_trained_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if importlib.util.find_spec("vllm") is None:
        pytest.skip("vLLM is not installed")
    monkeypatch.setattr("trl.generation.vllm_generation.VLLMClient", Client)
    monkeypatch.setattr(run, "reject_server_without_gpu", lambda _: None)
    sizes = {"steps": 2, "prompts": 2, "group": 2, "max_prompt_tokens": 448, "max_response_tokens": 64}
    server = {"rollouts": "vllm-server", "vllm_url": "http://127.0.0.1:9"}
    rates = {"learning_rate": 0.01, "warmup_steps": 0, "lora": LoraSettings(rank=4, alpha=64)}
    # Its entropy term moves the weights whatever the rewards are.
    settings = RlSettings.model_validate({"objective": ObjectiveSettings(variant="static-beta"), **sizes, **server, **rates})
    run.train(load_checkpoint(str(CHECKPOINT)), records(8), settings, tmp_path / "rl", seed=0)
    lines = [json.loads(line) for line in (tmp_path / "rl" / "metrics.jsonl").read_text().splitlines()]
    steps = [line for line in lines if "logp_gap" in line]
    assert len(steps) == 2
    assert all(step["grad_norm"] > 0 for step in steps)
    assert max(step["logp_gap"] for step in steps) < 0.05
