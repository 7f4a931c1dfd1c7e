"""The process that has the official package: it serves items, runs the simulated APIs and scores answers.

The interpreter of `environment` runs it, so it imports only the standard library and `bfcl_eval`, and no module imports it:
`python worker.py REQUEST_FD REPLY_FD SECONDS`. JSON lines {"n", "op", "arguments"} in, {"n", "value"} or {"n", "error"} out, on
separate pipes, because the package and the calls of a model print to stdout. An operation is ended after SECONDS.
"""
# pyright: reportMissingImports=false
# (bfcl_eval is installed in another environment.)

import json
import os
import queue
import signal
import sys
import threading
from functools import lru_cache
from typing import Any, TextIO

from bfcl_eval.constants.default_prompts import DEFAULT_USER_PROMPT_FOR_ADDITIONAL_FUNCTION_FC, MAXIMUM_STEP_LIMIT
from bfcl_eval.constants.enums import Language, ReturnFormat
from bfcl_eval.eval_checker import eval_runner
from bfcl_eval.eval_checker.multi_turn_eval import multi_turn_utils
from bfcl_eval.utils import (
    extract_test_category_from_id,
    is_java,
    is_js,
    is_multi_turn,
    is_relevance_or_irrelevance,
    load_dataset_entry,
    load_ground_truth_entry,
    make_json_serializable,
)

# The only model that the package runs by its plain chat-completions handler with tools; the GPTs use another API.
MODEL = "openbmb/MiniCPM-SALA-FC"
MODEL_FOLDER = MODEL.replace("/", "_")
LANGUAGES = {True: (Language.JAVA, ReturnFormat.JAVA), False: (Language.JAVASCRIPT, ReturnFormat.JAVASCRIPT)}

handler = eval_runner.get_handler(MODEL)


class OutOfTimeError(BaseException):
    """An operation took too long. It is not an Exception, because the official code treats those as results of the API."""


def hello() -> dict[str, Any]:
    """Return the model's name and the step limit of the package."""
    return {"model": MODEL, "step_limit": MAXIMUM_STEP_LIMIT}


def items(category: str, start: int, count: int) -> list[dict[str, Any]]:
    """Return a page of a category's items, in the order of the data."""
    return [_item(entry) for entry in _prompts(category)[start : start + count]]


def judge(item: str, result: Any) -> dict[str, Any]:
    """Return the official verdict on a result of an item. Raises the error that the official run would end with."""
    verdict = _verdict(item, result)
    # The official run encodes the verdict so, which fails if an argument holds a lone surrogate.
    json.dumps(make_json_serializable(verdict), ensure_ascii=False).encode()
    return {"solved": verdict["valid"], "reason": _reason(verdict)}


def step(episode: str, item: str, result: Any) -> list[str] | None:
    """Execute the calls of a step; return their results, or None if the step has no calls, which ends the turn."""
    try:
        calls = handler.decode_execute(result, has_tool_call_tag=False)
        if multi_turn_utils.is_empty_execute_response(calls):
            return None
    except Exception:
        return None
    entry = _entries(extract_test_category_from_id(item))[item]
    results, _ = multi_turn_utils.execute_multi_turn_func_call(
        calls,
        entry.get("initial_config", {}),
        entry["involved_classes"],
        f"{handler.model_name_underline_replaced}_{episode}",
        item,
        long_context="long_context" in item,
    )
    return results


def end(episode: str) -> None:
    """Free the state of an episode."""
    _forget(f"{handler.model_name_underline_replaced}_{episode}_")


OPERATIONS = {operation.__name__: operation for operation in (hello, items, judge, step, end)}


def _verdict(item: str, result: Any) -> dict[str, Any]:
    category = extract_test_category_from_id(item)
    entry = dict(_entries(category)[item])  # a copy, because the checker removes its tools
    if is_relevance_or_irrelevance(category):
        return eval_runner._evaluate_single_relevance_entry(handler, item, result, entry, MODEL_FOLDER, category)
    answer = _answers(category)[item]
    if not is_multi_turn(category):
        language = (Language.PYTHON, ReturnFormat.PYTHON)
        if is_java(category) or is_js(category):
            language = LANGUAGES[is_java(category)]
        return eval_runner._evaluate_single_ast_entry(handler, item, result, answer, entry, MODEL_FOLDER, category, *language)
    try:
        return eval_runner._evaluate_single_multi_turn_entry(handler, item, result, answer, entry, "judged", category)
    finally:
        _forget("judged_")


def _forget(prefix: str) -> None:
    """Delete simulated APIs, which the official code keeps in globals of its module."""
    kept = vars(multi_turn_utils)
    for name in [name for name in kept if name.startswith(prefix) and name.endswith("_instance")]:
        del kept[name]


def _reason(verdict: dict[str, Any]) -> str | None:
    if verdict["valid"]:
        return None
    error = verdict["error"]
    if isinstance(error, dict):
        return f"{error.get('error_type')}: {error.get('error_message')}"
    return f"{verdict.get('error_type')}: {' '.join(map(str, error))}"


def _item(entry: dict[str, Any]) -> dict[str, Any]:
    category = extract_test_category_from_id(entry["id"])
    return {
        "id": entry["id"],
        "turns": _turns(entry),
        "answers": None if is_relevance_or_irrelevance(category) else _answers(category)[entry["id"]],
        "functions": [] if is_multi_turn(category) else _entries(category)[entry["id"]]["function"],
    }


def _turns(entry: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the first messages of each turn, and the tools from this turn on (None: unchanged)."""
    functions, held_out, turns = list(entry["function"]), entry.get("missed_function", {}), []
    for number, messages in enumerate(entry["question"]):
        added = held_out.get(str(number))
        if added is not None:
            functions += added
            messages = [{"role": "user", "content": DEFAULT_USER_PROMPT_FOR_ADDITIONAL_FUNCTION_FC}]  # noqa: PLW2901 - as in the official code
        changed = number == 0 or added is not None
        tools = handler._compile_tools({}, {"function": functions})["tools"] if changed else None
        turns.append({"messages": messages, "tools": tools})
    return turns


@lru_cache(maxsize=2)
def _prompts(category: str) -> list[dict[str, Any]]:
    """Return a category's entries as the official generation reads them."""
    return load_dataset_entry(category)


@lru_cache(maxsize=4)
def _entries(category: str) -> dict[str, dict[str, Any]]:
    """Return a category's entries as the official evaluation reads them: without the hints on a language."""
    loaded = load_dataset_entry(category, include_prereq=False, include_language_specific_hint=False)
    return {entry["id"]: entry for entry in loaded}


@lru_cache(maxsize=4)
def _answers(category: str) -> dict[str, Any]:
    return {entry["id"]: entry["ground_truth"] for entry in load_ground_truth_entry(category)}


def _time_out(*_: object) -> None:
    raise OutOfTimeError("it took too long")


def _reply(line: str, seconds: float) -> dict[str, Any]:
    request = json.loads(line)
    try:
        signal.setitimer(signal.ITIMER_REAL, seconds)
        try:
            value = OPERATIONS[request["op"]](**request["arguments"])
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    except BaseException as error:
        return {"n": request["n"], "error": f"{type(error).__name__} {error}"[:300]}
    return {"n": request["n"], "value": value}


def _read(requests: TextIO, waiting: "queue.SimpleQueue[str]") -> None:
    """Read requests as they come, so that the client never blocks on a full pipe; exit when the pipe is closed."""
    for line in requests:
        waiting.put(line)
    os._exit(0)


def main() -> None:
    """Handle requests in their order, until the client closes the pipe."""
    requests, replies, seconds = sys.argv[1:]
    waiting: queue.SimpleQueue[str] = queue.SimpleQueue()
    signal.signal(signal.SIGALRM, _time_out)
    threading.Thread(target=_read, args=(os.fdopen(int(requests), encoding="utf-8"), waiting), daemon=True).start()
    with os.fdopen(int(replies), "w", encoding="utf-8") as out:
        while True:
            out.write(json.dumps(_reply(waiting.get(), float(seconds)), default=str) + "\n")
            out.flush()


if __name__ == "__main__":
    main()
