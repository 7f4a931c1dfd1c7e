"""Offers several records the union of their tools, so that the tools of each are distractors for the others.

Training computes the shared prefix once (`sft.share`). A record joins a tool set only if no tool of the set could serve the
record in place of its own tools, and none of its own tools could serve the other records.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from autotool_training.common.records import Record
from autotool_training.data.distractors import Distractors, as_refusal, could_serve
from autotool_training.data.sources.tools import Tool

MAX_OPEN = 20
"""The number of recent tool sets that a record may still join."""


@dataclass(slots=True)
class ToolSet:
    """Records, and the tools that all of them are offered."""

    records: list[Record] = field(default_factory=list[Record])
    tools: dict[str, Tool] = field(default_factory=dict[str, Tool])
    """The tools by name."""
    withheld: set[str] = field(default_factory=set[str])
    """Names of tools that must not be added, because a refusal in the set would be wrong."""

    def accepts(self, record: Record) -> bool:
        """Return whether the record can share its tools with the others."""
        own_tools = {tool["function"]["name"]: tool for tool in record.tools}
        if self.withheld & own_tools.keys() or any(self.tools.get(name, tool) != tool for name, tool in own_tools.items()):
            return False
        return not _any_could_serve(self.tools, record) and not any(
            _any_could_serve(own_tools, other) for other in self.records
        )

    def add(self, record: Record) -> None:
        """Add a record and its tools."""
        self.records.append(record)
        self.tools |= {tool["function"]["name"]: tool for tool in record.tools}


def group_by_tool_set(records: Iterable[Record], max_records: int) -> list[ToolSet]:
    """Return all records in sets of at most `max_records`. Consecutive records mostly share a set."""
    tool_sets: list[ToolSet] = []
    for record in records:
        tool_set = next(
            (
                candidate
                for candidate in tool_sets[-MAX_OPEN:]
                if len(candidate.records) < max_records and candidate.accepts(record)
            ),
            None,
        )
        if tool_set is None:
            tool_sets.append(tool_set := ToolSet())
        tool_set.add(record)
    return tool_sets


def share_tools(
    records: Sequence[Record], max_records: int, distractors: int, pool: Distractors, share: float
) -> Iterator[Record]:
    """Yield the records with the tools of their sets, and at most `distractors` more tools per set.

    The `share` of irrelevant records joins sets that cannot serve them, so that the right answer is to call none. They do not
    count towards `max_records`. A record without such a set keeps its call: the number of tools must not reveal the answer.
    """
    irrelevant = [record for record in records if pool.is_drawn(record, share)]
    tool_sets = group_by_tool_set([record for record in records if not pool.is_drawn(record, share)], max_records)
    tool_sets += group_by_tool_set(
        [record for record in irrelevant if not _joins_as_refusal(record, tool_sets, pool)], max_records
    )
    for tool_set in tool_sets:
        yield from _with_shared_tools(tool_set, distractors, pool)


def _joins_as_refusal(record: Record, tool_sets: Sequence[ToolSet], pool: Distractors) -> bool:
    """Add the record as a refusal to a set that cannot serve it. Return whether there is such a set."""
    rng = pool.rng(f"refused/{record.id}")
    request = record.model_copy(update={"calls": [], "tools": []})
    own_tools = {tool["function"]["name"] for tool in record.tools}
    for tool_set in rng.sample(tool_sets, min(MAX_OPEN, len(tool_sets))):
        if not own_tools & tool_set.tools.keys() and not _any_could_serve(tool_set.tools, request):
            tool_set.records.append(as_refusal(request, [], rng))
            tool_set.withheld |= own_tools
            return True
    return False


def _with_shared_tools(tool_set: ToolSet, distractors: int, pool: Distractors) -> Iterator[Record]:
    rng = pool.rng(f"shown/{tool_set.records[0].id}")
    more = pool.choose_for_all(tool_set.records, tool_set.tools.keys() | tool_set.withheld, rng.randint(0, distractors), rng)
    tools = [*tool_set.tools.values(), *more]
    rng.shuffle(tools)
    yield from (record.model_copy(update={"tools": tools}) for record in tool_set.records)


def _any_could_serve(tools: dict[str, Tool], record: Record) -> bool:
    own_tools = {tool["function"]["name"] for tool in record.tools}
    return any(name not in own_tools and could_serve(tool, record) for name, tool in tools.items())
