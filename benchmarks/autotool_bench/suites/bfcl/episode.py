"""Run a multi-turn item turn by turn against the simulated APIs.

Order and content of the messages are those of the official `BaseHandler.inference_multi_turn_FC` with its OpenAI handler.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from autotool_bench.suites.base import ChatModel, Item, Message, Reply, Tool
from autotool_bench.suites.bfcl.process import ScorerProcess


def result_of(reply: Reply) -> Any:
    """Return an answer as the official result file has it: its calls ([{name: JSON text}, …]), else its content."""
    return [{call.name: call.arguments} for call in reply.calls] if reply.calls else reply.content


@dataclass(frozen=True, slots=True)
class Episode:
    """One attempt at a multi-turn item. Its name separates its state from that of other episodes."""

    scorer: ScorerProcess
    name: str
    item: Item
    step_limit: int
    """Maximum steps of a turn; a turn with more steps ends the episode."""

    async def run(self, model: ChatModel) -> list[list[Any]]:
        """Run the episode; return the steps of every turn, as the official result file has them."""
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
        """Run a turn, appending to `messages`; return its steps and whether they exceed the limit."""
        steps: list[Any] = []
        while len(steps) <= self.step_limit:
            reply = await model(list(messages), tools)
            message = reply.message()
            messages.append(message)
            steps.append(result_of(reply))
            results = await self.scorer.call_async("step", episode=self.name, item=self.item.id, result=steps[-1])
            if results is None:
                return steps, False
            messages += [
                {"role": "tool", "content": result, "tool_call_id": call["id"]}
                for result, call in zip(results, message["tool_calls"], strict=False)
            ]
        return steps, True
