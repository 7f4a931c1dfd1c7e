"""The generated parts of the reference are up to date, and made of what they name."""

import runpy
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, Field

ROOT = Path(__file__).parents[3]
GENERATOR = runpy.run_path(str(ROOT / "scripts" / "generate_reference_docs.py"))
REMEDY = "run `python scripts/generate_reference_docs.py`"


class Sample(BaseModel):
    """A model with fields of each sort."""

    name: str
    """What it
    is called."""
    share: float = Field(default=0.5, ge=-1, lt=1)
    mode: Literal["a", "b"] | None = None
    parts: list[int] = []


def test_the_settings_page_is_up_to_date() -> None:
    assert GENERATOR["settings_page"]() == (ROOT / "docs" / "reference" / "settings.md").read_text(encoding="utf-8"), REMEDY


def test_the_recipes_page_is_up_to_date() -> None:
    assert GENERATOR["recipes_page"]() == (ROOT / "docs" / "reference" / "recipes.md").read_text(encoding="utf-8"), REMEDY


def test_the_tables_of_the_api_page_are_up_to_date() -> None:
    page = (ROOT / "docs" / "reference" / "api.md").read_text(encoding="utf-8")
    assert GENERATOR["api_page"](page) == page, REMEDY
    assert page.count("<!-- fields: ") == page.count("<!-- end -->") == 10


def test_a_table_has_types_bounds_defaults_and_docstrings() -> None:
    assert GENERATOR["table"](Sample).splitlines() == [
        "| field | type | default | meaning |",
        "|---|---|---|---|",
        "| `name` | string | required | What it is called. |",
        "| `share` | number ≥ -1, < 1 | `0.5` |  |",
        "| `mode` | `a`, `b` |  |  |",
        "| `parts` | list of integer | `[]` |  |",
    ]


def test_a_stale_table_is_replaced() -> None:
    block = "before\n<!-- fields: autotool_core.record:ToolExecution -->\n\nold\n\n<!-- end -->\nafter\n"
    page = GENERATOR["api_page"](block)
    assert "old" not in page
    assert "| `overlap_seconds` | number | required |" in page
    assert page.startswith("before\n")
    assert page.endswith("<!-- end -->\nafter\n")
