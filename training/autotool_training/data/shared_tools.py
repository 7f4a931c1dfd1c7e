"""Several records that are offered the same tools: those of each of them, which are distractors to the others.

Training computes what they share once (`sft.share`). A record joins an offer only if no tool of it could serve the record in
place of its own, and none of its own tools the others.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from autotool_training.common.records import Record
from autotool_training.data.distractors import Distractors, could_serve, refused
from autotool_training.data.sources.tools import Tool

OPEN = 20
"""Latest offers that a record may still join."""


@dataclass(slots=True)
class Offer:
    """Records, and the tools that all of them are offered, by name."""

    records: list[Record] = field(default_factory=list[Record])
    tools: dict[str, Tool] = field(default_factory=dict[str, Tool])
    withheld: set[str] = field(default_factory=set[str])
    """Names of tools that one of the records must not be offered."""

    def takes(self, record: Record) -> bool:
        """Whether the record's tools and these can be offered to all."""
        own = {tool["function"]["name"]: tool for tool in record.tools}
        if self.withheld & own.keys() or any(self.tools.get(name, tool) != tool for name, tool in own.items()):
            return False
        return not _serves(self.tools, record) and not any(_serves(own, other) for other in self.records)

    def add(self, record: Record) -> None:
        """Take a record in."""
        self.records.append(record)
        self.tools |= {tool["function"]["name"]: tool for tool in record.tools}


def offers(records: Iterable[Record], most: int) -> list[Offer]:
    """All records in offers of at most `most`; those that come one after another mostly share one."""
    made: list[Offer] = []
    for record in records:
        offer = next((one for one in made[-OPEN:] if len(one.records) < most and one.takes(record)), None)
        if offer is None:
            made.append(offer := Offer())
        offer.add(record)
    return made


def together(records: Sequence[Record], most: int, distractors: int, pool: Distractors, share: float) -> Iterator[Record]:
    """The records with the tools of their offers and up to `distractors` more each.

    The `share` that is drawn to be irrelevant joins offers without a tool for it, so that the right answer is to call none; it
    comes on top of `most`. One that finds no such offer stays what it is: the number of tools must not tell the answer.
    """
    irrelevant = [record for record in records if pool.is_drawn(record, share)]
    made = offers([record for record in records if not pool.is_drawn(record, share)], most)
    made += offers([record for record in irrelevant if not _is_refused(record, made, pool)], most)
    for offer in made:
        yield from _shown(offer, distractors, pool)


def _is_refused(record: Record, made: Sequence[Offer], pool: Distractors) -> bool:
    """Put a record, without its tools, into an offer of which none could serve it; whether there is one."""
    draw = pool.draw(f"refused/{record.id}")
    asked = record.model_copy(update={"calls": [], "tools": []})
    own = {tool["function"]["name"] for tool in record.tools}
    for offer in draw.sample(made, min(OPEN, len(made))):
        if not own & offer.tools.keys() and not _serves(offer.tools, asked):
            offer.records.append(refused(asked, [], draw))
            offer.withheld |= own
            return True
    return False


def _shown(offer: Offer, distractors: int, pool: Distractors) -> Iterator[Record]:
    draw = pool.draw(f"shown/{offer.records[0].id}")
    more = pool.for_all(offer.records, offer.tools.keys() | offer.withheld, draw.randint(0, distractors), draw)
    tools = [*offer.tools.values(), *more]
    draw.shuffle(tools)
    yield from (record.model_copy(update={"tools": tools}) for record in offer.records)


def _serves(tools: dict[str, Tool], record: Record) -> bool:
    own = {tool["function"]["name"] for tool in record.tools}
    return any(name not in own and could_serve(tool, record) for name, tool in tools.items())
