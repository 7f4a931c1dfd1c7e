"""What an answer looks like in a terminal of 60 and of 120 columns, while it is streamed and after it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.fake_api import FakeAPI, fake_api
from support.typed import Emulator, typing_at

DOCUMENT = """# Sorting

To sort a list, use `sorted`: it returns a **new** list, and leaves the old one as it was, which is mostly what you want.
On a line of its own, \\[ a < b \\] & <b>tags</b> stay.

1. first item
2. second item, which is long enough to be wrapped in a narrow terminal, but not in a wide one
   - nested

| name | what it does |
|---|---|
| sorted | returns a new list, whatever it is given: a list, a tuple, a set or anything else that can be iterated |
| list.sort | sorts in place |

```python
def smallest(values: list[int]) -> int:
    return sorted(values)[0]  # [the docs](https://example.com) are no link here
```

See [the docs](https://example.com/sorting). 很长的中文句子也要换行 不能丢失任何一个字 也不能把字切成两半 这一点很重要。
"""


@pytest.fixture
def server() -> Iterator[FakeAPI]:
    with fake_api(with_tools=True) as api:
        yield api


def answer_at(server: FakeAPI, home: Path, columns: int, rows: int = 24) -> Emulator:
    with typing_at(server.url, home, "--mode", "long", columns=columns, rows=rows) as typist:
        typist.ask("document", "long> ")
        typist.wait_for("content tokens")
        typist.wait_for_prompt("long> ")
        return typist.screen


def shown(screen: Emulator) -> str:
    """Return the lines of the answer."""
    return screen.text().partition("long> document\n")[2].partition("\nlong · decided by")[0]


@pytest.mark.parametrize("columns", [60, 120])
def test_an_answer_as_it_is_left_on_the_screen(server: FakeAPI, tmp_path: Path, columns: int) -> None:
    server.document = DOCUMENT
    capture = shown(answer_at(server, tmp_path, columns))
    expected = Path(__file__).with_name(f"capture_{columns}.txt")
    assert capture + "\n" == expected.read_text()
    assert max(map(len, capture.split("\n"))) < columns


def test_words_are_not_cut(server: FakeAPI, tmp_path: Path) -> None:
    server.document = "\n\n".join(
        " ".join(f"word{number}x" for number in range(start, start + 40)) for start in range(0, 200, 40)
    )
    words = shown(answer_at(server, tmp_path, 60, rows=10)).split()
    assert words == server.document.split()


def test_a_block_that_is_higher_than_the_screen_is_complete(server: FakeAPI, tmp_path: Path) -> None:
    lines = [f"line {number}" for number in range(50)]
    server.document = "\n".join(["```", *lines, "```", "", "done"])
    capture = [line.strip() for line in shown(answer_at(server, tmp_path, 60, rows=8)).split("\n")]
    assert [line for line in capture if line] == [*lines, "done"]
