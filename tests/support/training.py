"""A tiny model from scratch and graded records to train it on."""

from itertools import islice

from autotool_core.graded import generate
from autotool_training import scratch
from autotool_training.common.records import GoldCall, Record

SIZES = scratch.ScratchSettings(hidden_size=32, layers=2, heads=2, intermediate_size=64)


def records(count: int) -> list[Record]:
    return [
        Record(
            id=task.id,
            tools=list(task.tools),
            messages=[{"role": "user", "content": task.request}],
            calls=[GoldCall(name=call.name, arguments=dict(call.arguments)) for call in task.calls],
            reasoning=task.reasoning,
            source="graded",
            licence="Apache-2.0",
            level=task.level,
        )
        for task in islice(generate("train", 2, distractors=1), count)
    ]
