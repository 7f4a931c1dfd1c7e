"""Run BFCL items through the official generation code, for comparison, by the interpreter that has `bfcl_eval`.

Reads {item id: [[{name: arguments}, …] or text, …]} on stdin, the model's answers in order; writes by item id the messages and
tools of every request, and the result.
"""
# pyright: reportMissingImports=false
# (bfcl_eval is installed in another environment.)

import contextlib
import json
import sys
from typing import Any

from bfcl_eval.eval_checker.eval_runner import get_handler
from bfcl_eval.utils import extract_test_category_from_id, load_dataset_entry
from openai.types.chat import ChatCompletion


def completion(answer: Any) -> ChatCompletion:
    calls = [
        {"id": f"call_{index}", "type": "function", "function": {"name": name, "arguments": arguments}}
        for index, call in enumerate(answer if isinstance(answer, list) else [])
        for name, arguments in call.items()
    ]
    content = None if isinstance(answer, list) else answer
    message = {"role": "assistant", "content": content} | ({"tool_calls": calls} if calls else {})
    choice = {"index": 0, "finish_reason": "stop", "message": message}
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    body = {"id": "x", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice], "usage": usage}
    return ChatCompletion.model_validate(body)


def play(item: str, answers: list[Any]) -> dict[str, Any]:
    handler = get_handler("openbmb/MiniCPM-SALA-FC")
    remaining, requests = iter(answers), []

    def generate(**arguments: Any) -> tuple[ChatCompletion, float]:
        messages = [m if isinstance(m, dict) else m.model_dump(exclude_none=True) for m in arguments["messages"]]
        requests.append({"messages": messages, "tools": arguments.get("tools", [])})
        return completion(next(remaining, "")), 0.0

    handler.generate_with_backoff = generate
    entry = next(entry for entry in load_dataset_entry(extract_test_category_from_id(item)) if entry["id"] == item)
    with contextlib.redirect_stdout(sys.stderr):
        result, _ = handler.inference(entry, include_input_log=False, exclude_state_log=False)
    return {"requests": requests, "result": result}


if __name__ == "__main__":
    json.dump({item: play(item, answers) for item, answers in json.load(sys.stdin).items()}, sys.stdout)
