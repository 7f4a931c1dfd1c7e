"""The leaderboard's categories: those that can be run, their groups, and why the others cannot be run."""

from collections.abc import Iterable

from autotool_core.errors import AutoToolError

NON_LIVE = ("simple_python", "simple_java", "simple_javascript", "multiple", "parallel", "parallel_multiple", "irrelevance")
LIVE = ("live_simple", "live_multiple", "live_parallel", "live_parallel_multiple", "live_irrelevance", "live_relevance")
MULTI_TURN = ("multi_turn_base", "multi_turn_miss_func", "multi_turn_miss_param", "multi_turn_long_context")

GROUPS = {"non_live": NON_LIVE, "live": LIVE, "multi_turn": MULTI_TURN}
"""Groups of categories, by which the official package names the folders of its result files."""

_CHOICES = GROUPS | {"single_turn": NON_LIVE + LIVE, "all": NON_LIVE + LIVE + MULTI_TURN}

_MEMORY = "its memory stores, of which one needs a downloaded embedding model, are part of the official generator"
_WEB_SEARCH = "it needs the open web and a paid key of a search service, so no two runs see the same pages"
_REFUSED = {
    "memory_kv": _MEMORY,
    "memory_vector": _MEMORY,
    "memory_rec_sum": _MEMORY,
    "web_search_base": _WEB_SEARCH,
    "web_search_no_snippet": _WEB_SEARCH,
    "format_sensitivity": "it varies the prompt of models without tool calling, and officially excludes models with it",
    "memory": _MEMORY,
    "web_search": _WEB_SEARCH,
    "agentic": "web search needs the open web and a paid key; of memory, " + _MEMORY,
}

OTHERS = tuple(_REFUSED)[:6]
"""Categories of the leaderboard that this suite does not have."""


def select(names: Iterable[str]) -> tuple[str, ...]:
    """Resolve names of categories and groups, in the leaderboard's order. Raises AutoToolError for names that cannot be run."""
    chosen = {category for name in names for category in _choice(name)}
    if not chosen:
        raise AutoToolError(f"No BFCL category was chosen: name some of {_known()}.")
    return tuple(category for category in _CHOICES["all"] if category in chosen)


def group(category: str) -> str:
    """Return the name of a category's official group."""
    return next(name for name, members in GROUPS.items() if category in members)


def is_multi_turn(category: str) -> bool:
    """Return whether the items are episodes against simulated APIs."""
    return category in MULTI_TURN


def is_irrelevance(category: str) -> bool:
    """Return whether the items are solved by making no call."""
    return category.endswith("irrelevance")


def is_relevance(category: str) -> bool:
    """Return whether the items are solved by making any call."""
    return category == "live_relevance"


def rule(category: str) -> str | None:
    """Return in words what solves an item of a category whose items have no gold answer; None for the other categories."""
    if is_relevance(category):
        return "any call"
    return "no call" if is_irrelevance(category) else None


def _choice(name: str) -> tuple[str, ...]:
    if reason := _REFUSED.get(name):
        raise AutoToolError(f"The BFCL category {name} is not run here: {reason}. Choose among {_known()}.")
    if name in _CHOICES["all"]:
        return (name,)
    if name not in _CHOICES:
        raise AutoToolError(f"There is no BFCL category or group of that name: choose among {_known()}.")
    return _CHOICES[name]


def _known() -> str:
    return ", ".join([*_CHOICES["all"], *_CHOICES])
