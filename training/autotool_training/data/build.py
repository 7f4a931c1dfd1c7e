"""Implements `autotool train data`: read data sets, drop faulty, duplicate and evaluated records, sample, add distractors."""

import json
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

from autotool_core.errors import AutoToolError
from autotool_training.common import records
from autotool_training.common.records import Record
from autotool_training.data.catalog import SOURCES, SourceSpec
from autotool_training.data.counts import Counts
from autotool_training.data.distractors import REFUSALS, Distractors
from autotool_training.data.overlap import EvaluationTexts, deduplication_key, read_texts
from autotool_training.data.quality import check
from autotool_training.data.shared_tools import share_tools
from autotool_training.data.sources import messages
from autotool_training.data.sources.rows import RowError
from autotool_training.data.sources.tools import Tool
from autotool_training.data.template_reasoning import write_reasoning

KINDS = ("call", "reply", "text")
"""The kinds of records: a call; text after a call's result; other text, such as a clarification, a refusal or small talk."""
MADE_IRRELEVANT = "made irrelevant"
REASONING_WRITTEN = "reasoning written"


@dataclass(frozen=True, slots=True)
class DataSettings:
    """Settings of `build`. `seed` determines everything that is drawn."""

    seed: int = 0
    limits: Mapping[str, int] = field(default_factory=dict[str, int])
    """The maximum numbers of records, by source (`sgd`) or by source and kind (`sgd/call`), which overrides the source's."""
    licences: frozenset[str] | None = None
    """SPDX identifiers of the licences to keep. None keeps all."""
    against: tuple[Path, ...] = ()
    """Files of evaluation texts, as `overlap.read_texts` reads them."""
    ngram: int = 8
    """The number of consecutive words that a record may not share with an evaluation text."""
    distractors: int = 0
    """The number of tools that are added to each record. Records that share their tools get at most this number together."""
    max_per_tool_set: int = 1
    """The maximum number of single-request records with calls that share their tools (`shared_tools`)."""
    irrelevant: float = 0.0
    """The share of single-request records with calls that get only other tools, so that the right answer is to call none."""
    max_chars: int | None = None
    """The maximum number of characters of a record's messages and tools."""
    write_reasoning: bool = False
    """Whether records with calls, and irrelevant ones, get template reasoning if they have no reasoning."""
    strict: bool = False
    """Whether a faulty row ends the run."""


def build(specs: Sequence[SourceSpec], out: Path, settings: DataSettings, skipped: Callable[[str], None]) -> Counts:
    """Write a file of records and a JSON file of its counts. `skipped` gets the file, line and reason of every faulty row.

    Raises AutoToolError for a file or hub id that cannot be read, a setting that names no source or licence of those, and with
    `strict` for a faulty row.
    """
    _reject_unknown_names(specs, settings)
    counts = Counts("Training data")
    record_filter = RecordFilter(settings, counts)
    for spec in specs:
        counts.seen[spec.counted_as] += 0
        for row in spec.source.load_records(spec.location, settings.seed):
            record_filter.add(spec.counted_as, row, skipped)
        if spec.source.load_tools:
            record_filter.tools[spec.name].update(_by_name(spec.source.load_tools(spec.location)))
    records.write(out, record_filter.kept_records())
    counts.write(out.with_name(f"{out.stem}.counts.json"))
    return counts


def _reject_unknown_names(specs: Sequence[SourceSpec], settings: DataSettings) -> None:
    sources = dict.fromkeys([*SOURCES, *(spec.counted_as for spec in specs)])
    for key in settings.limits:
        source, separator, kind = key.partition("/")
        if source not in sources or (separator and kind not in KINDS):
            raise AutoToolError(f"--max {key}: name a source ({', '.join(sources)}), or one of its kinds as in sgd/call.")
    known = {source.licence for source in SOURCES.values()}
    # Rows of one's own state any licence.
    states_own = any(spec.name == messages.NAME for spec in specs)
    if (unknown := (settings.licences or frozenset()) - known) and not states_own:
        raise AutoToolError(f"--licence {', '.join(sorted(unknown))}: use {', '.join(sorted(known))}.")


def record_kind(record: Record) -> str:
    """Return the kind of a record, one of KINDS."""
    if record.calls:
        return "call"
    return "reply" if record.messages[-1]["role"] == "tool" else "text"


class _Sample:
    """A uniform sample of at most `size` records (reservoir sampling). None as the size keeps all."""

    def __init__(self, size: int | None, seed: str) -> None:
        self.kept: dict[int, Record] = {}
        self._orders: list[int] = []
        self._size = size
        self._draw = random.Random(seed)  # noqa: S311 not a secret
        self._seen = 0

    def add(self, order: int, record: Record) -> bool:
        """Offer a record to the sample. Return whether this record or an earlier one is dropped."""
        self._seen += 1
        if self._size is None or len(self.kept) < self._size:
            self._orders.append(order)
            self.kept[order] = record
            return False
        index = self._draw.randrange(self._seen)
        if index < self._size:
            del self.kept[self._orders[index]]
            self._orders[index] = order
            self.kept[order] = record
        return True


class RecordFilter:
    """Applies the steps between loading and writing to each record."""

    def __init__(self, settings: DataSettings, counts: Counts) -> None:
        self.tools: dict[str, dict[str, Tool]] = defaultdict(dict)
        self._settings, self._counts = settings, counts
        self._evaluation = EvaluationTexts(read_texts(settings.against), settings.ngram)
        self._seen_keys: set[int] = set()
        self._seen_ids: set[str] = set()
        self._duplicates = Counter[str]()
        self._samples: dict[str, _Sample] = {}
        self._order = 0

    def add(self, source: str, row: Record | RowError, skipped: Callable[[str], None]) -> None:
        """Add a record to the sample, or count the reason for dropping it. `source`: that of a row without one of its own."""
        given, source = source, source if isinstance(row, RowError) else row.source
        lost = row.lost if isinstance(row, RowError) else 1
        self._counts.seen[source] += lost
        if isinstance(row, RowError):
            if self._settings.strict:
                raise AutoToolError(row.sentence() + ".")
            skipped(row.sentence())
            fault = row.reason
        else:
            checked = check(self._with_unique_id(row))
            fault = self._licence_fault(checked.record) or checked.fault or self._content_fault(checked.record)
            if fault is None:
                self._counts.notes[source].update(checked.notes)
                fault = self._sample(checked.record, given)
        if fault:
            self._counts.dropped[source][fault] += lost

    def kept_records(self) -> Iterator[Record]:
        """Yield the kept records with all tools that they are offered."""
        kept = dict(sorted((order, record) for sample in self._samples.values() for order, record in sample.kept.items()))
        by_source: dict[str, list[Record]] = defaultdict(list)
        for record in kept.values():
            by_source[record.source].append(record)
        pools = {source: Distractors(tools.values(), self._settings.seed) for source, tools in self.tools.items()}
        for source, pool in pools.items():
            for record in self._with_offered_tools(by_source[source], pool):
                changed = self._with_reasoning(record)
                self._counts.kept[source][record_kind(changed)] += 1
                if changed.content in REFUSALS:
                    self._counts.notes[source][MADE_IRRELEVANT] += 1
                yield changed

    def _with_unique_id(self, record: Record) -> Record:
        """Return the record with a unique id: two files of a source may number their rows in the same way."""
        new = record.id
        while new in self._seen_ids:
            self._duplicates[record.id] += 1
            new = f"{record.id}#{self._duplicates[record.id] + 1}"
        self._seen_ids.add(new)
        return record if new == record.id else record.model_copy(update={"id": new})

    def _licence_fault(self, record: Record) -> str | None:
        if self._settings.licences is not None and record.licence not in self._settings.licences:
            return f"licence {record.licence}"
        return None

    def _content_fault(self, record: Record) -> str | None:
        key = deduplication_key(record)
        if key in self._seen_keys:
            return "doubled"
        self._seen_keys.add(key)
        if self._settings.max_chars is not None and _length(record) > self._settings.max_chars:
            return "too long"
        return "in an evaluation set" if self._evaluation.overlaps(record) else None

    def _sample(self, record: Record, given: str) -> str | None:
        """Offer a record to the sample of the first of these that has a maximum. `given`: the source as it was asked for."""
        self.tools[record.source].update(_by_name(record.tools))
        limits, kind = self._settings.limits, record_kind(record)
        names = (f"{record.source}/{kind}", record.source, f"{given}/{kind}", given)
        key = next((name for name in names if name in limits), record.source)
        if key not in self._samples:
            self._samples[key] = _Sample(limits.get(key), f"{self._settings.seed}/{key}")
        self._order += 1
        return "down-sampled" if self._samples[key].add(self._order, record) else None

    def _with_offered_tools(self, kept: Sequence[Record], pool: Distractors) -> Iterator[Record]:
        """Return the records of a source with all tools that they are offered."""
        settings = self._settings
        if settings.max_per_tool_set == 1:
            return (self._with_tools(record, pool) for record in kept)
        single = [record for record in kept if record.calls and len(record.messages) == 1]
        others = (self._with_tools(record, pool) for record in kept if not record.calls or len(record.messages) > 1)
        return chain(share_tools(single, settings.max_per_tool_set, settings.distractors, pool, settings.irrelevant), others)

    def _with_tools(self, record: Record, pool: Distractors) -> Record:
        more = self._settings.distractors
        # A longer conversation has already used its tools.
        is_single = sum(message["role"] == "user" for message in record.messages) == 1
        if record.calls and is_single and pool.is_drawn(record, self._settings.irrelevant):
            return pool.make_irrelevant(record, max(more, len(record.tools)))
        return pool.add(record, more) if more else record

    def _with_reasoning(self, record: Record) -> Record:
        # An original answer in text has no arguments that could be explained.
        is_traceable = record.calls or record.content in REFUSALS
        if not self._settings.write_reasoning or record.reasoning or not is_traceable:
            return record
        self._counts.notes[record.source][REASONING_WRITTEN] += 1
        return record.model_copy(update={"reasoning": write_reasoning(record)})


def _by_name(tools: Iterable[Tool]) -> dict[str, Tool]:
    return {tool["function"]["name"]: tool for tool in tools}


def _length(record: Record) -> int:
    return sum(len(message["content"]) for message in record.messages) + len(json.dumps(record.tools))
