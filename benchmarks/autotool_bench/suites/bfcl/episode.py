"""A multi-turn item, played turn by turn against the simulated APIs.

Order and content of the messages are those of the official `BaseHandler.inference_multi_turn_FC` with its OpenAI handler.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from autotool_bench.suites.base import ChatModel, Item, Message, Reply, Tool
from autotool_bench.suites.bfcl.process import ScorerProcess


def response(answer: Reply) -> Any:
    """What the official handler makes of an answer: its calls ([{name: arguments as JSON text}, …]), else its content."""
    return [{call.name: call.arguments} for call in answer.calls] if answer.calls else answer.content


@dataclass(frozen=True, slots=True)
class Episode:
    """One play of an item; its name keeps its state apart from that of others."""

    scorer: ScorerProcess
    name: str
    item: Item
    step_limit: int
    """A turn with more steps ends the whole episode."""

    async def run(self, model: ChatModel) -> list[list[Any]]:
        """Every turn's steps, as the official result file has them."""
        messages: list[Message] = []
        tools: Sequence[Tool] = self.item.tools
        turns: list[list[Any]] = []
        try:
            for turn in self.item.gold["turns"]:
                messages += turn["messages"]
                tools = turn["tools"] or tools
                steps, forced = await self._turn(messages, tools, model)
                turns.append(steps)
                if forced:
                    break
        finally:
            self.scorer.request("end", episode=self.name)
        return turns

    async def _turn(self, messages: list[Message], tools: Sequence[Tool], model: ChatModel) -> tuple[list[Any], bool]:
        """The steps of a turn, and whether they were too many; the conversation goes on in `messages`."""
        steps: list[Any] = []
        while len(steps) <= self.step_limit:
            answer = await model(list(messages), tools)
            message = answer.message()
            messages.append(message)
            steps.append(response(answer))
            results = await self.scorer.call_async("step", episode=self.name, item=self.item.id, result=steps[-1])
            if results is None:
                return steps, False
            messages += [
                {"role": "tool", "content": result, "tool_call_id": call["id"]}
                for result, call in zip(results, message["tool_calls"], strict=False)
            ]
        return steps, True
