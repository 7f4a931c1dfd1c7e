"""Several records that are offered the same tools: those of each of them, which are distractors to the others.

Training computes what they share once (`sft.share`). A record joins an offer only if no tool of it could serve the record in
place of its own, and none of its own tools the others.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from autotool_training.common.records import Record
from autotool_training.data.distractors import Distractors, as_refusal, could_serve
from autotool_training.data.sources.tools import Tool

MAX_OPEN = 20
"""Latest offers that a record may still join."""


@dataclass(slots=True)
class ToolSet:
    """Records, and the tools that all of them are offered, by name."""

    records: list[Record] = field(default_factory=list[Record])
    tools: dict[str, Tool] = field(default_factory=dict[str, Tool])
    withheld: set[str] = field(default_factory=set[str])
    """Names of tools that one of the records must not be offered."""

    def accepts(self, record: Record) -> bool:
        """Whether the record's tools and these can be offered to all."""
        own_tools = {tool["function"]["name"]: tool for tool in record.tools}
        if self.withheld & own_tools.keys() or any(self.tools.get(name, tool) != tool for name, tool in own_tools.items()):
            return False
        return not _any_could_serve(self.tools, record) and not any(
            _any_could_serve(own_tools, other) for other in self.records
        )

    def add(self, record: Record) -> None:
        """Take a record in."""
        self.records.append(record)
        self.tools |= {tool["function"]["name"]: tool for tool in record.tools}


def group_by_tool_set(records: Iterable[Record], max_records: int) -> list[ToolSet]:
    """All records in offers of at most `most`; those that come one after another mostly share one."""
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
    """The records with the tools of their offers and up to `distractors` more each.

    The `share` that is drawn to be irrelevant joins offers without a tool for it, so that the right answer is to call none; it
    comes on top of `most`. One that finds no such offer stays what it is: the number of tools must not tell the answer.
    """
    irrelevant = [record for record in records if pool.is_drawn(record, share)]
    tool_sets = group_by_tool_set([record for record in records if not pool.is_drawn(record, share)], max_records)
    tool_sets += group_by_tool_set(
        [record for record in irrelevant if not _joins_as_refusal(record, tool_sets, pool)], max_records
    )
    for tool_set in tool_sets:
        yield from _with_shared_tools(tool_set, distractors, pool)


def _joins_as_refusal(record: Record, tool_sets: Sequence[ToolSet], pool: Distractors) -> bool:
    """Put a record, without its tools, into an offer of which none could serve it; whether there is one."""
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
