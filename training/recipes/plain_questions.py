"""Asks a server the thirty questions of plain_questions.jsonl, which need no tool, and writes what it answers.

    python training/recipes/plain_questions.py http://localhost:8000/v1 short answers.jsonl

Prints how many of the questions with an exact answer are answered by it, as a word of its own. The others are for a reader.
Greedy, at most 128 tokens an answer. The second argument is the mode.
"""

import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from openai import OpenAI

QUESTIONS = Path(__file__).with_name("plain_questions.jsonl")
MAX_TOKENS = 128


def main(url: str, mode: str, out: str) -> None:
    """Ask all questions in a mode, and write a line for each of them."""
    client = OpenAI(base_url=url, api_key="none")
    rows = [json.loads(line) for line in QUESTIONS.read_text(encoding="utf-8").splitlines()]
    for row in rows:
        row["said"] = _ask(client, row["question"], mode)
        row["right"] = _is_right(row["said"], row["answers"]) if row["answers"] else None
    Path(out).write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    exact = [row["right"] for row in rows if row["answers"]]
    sys.stdout.write(f"{sum(exact)} of {len(exact)} exact answers are right; {len(rows) - len(exact)} are for a reader.\n")


def _ask(client: OpenAI, question: str, mode: str) -> str:
    completion = client.chat.completions.create(
        model=client.models.list().data[0].id,
        messages=[{"role": "user", "content": question}],
        max_completion_tokens=MAX_TOKENS,
        temperature=0,
        extra_body={"mode": mode},
    )
    return completion.choices[0].message.content or ""


def _is_right(said: str, answers: Sequence[str]) -> bool:
    return any(has_word(said, answer) for answer in answers)


def has_word(said: str, word: str) -> bool:
    """Return whether a text has a word, in capital letters if the word is in capital letters."""
    return re.search(rf"\b{re.escape(word)}\b", said, 0 if word.isupper() else re.IGNORECASE) is not None


if __name__ == "__main__":
    main(*sys.argv[1:])
