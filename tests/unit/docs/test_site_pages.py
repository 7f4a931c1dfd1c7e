"""Pages of the site that come from files at the root, and the paths of pages that files of the repository name."""

import re
import runpy
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[3]
site_page = runpy.run_path(str(ROOT / "scripts" / "site_pages.py"))["site_page"]
PAGE = re.compile(r"\bdocs/[\w/-]+\.(?:md|svg)\b")


def test_links_of_a_file_at_the_root_become_relative_to_docs() -> None:
    text = "[a](docs/guides/serve.md#modes), ![b](docs/img/x.svg), [c](CONTRIBUTING.md#tests), [d](https://x.y/docs/z.md)"
    assert (
        site_page(text) == "[a](guides/serve.md#modes), ![b](img/x.svg), [c](contributing.md#tests), [d](https://x.y/docs/z.md)"
    )


def test_every_page_that_is_named_exists() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    # The tests of the docs name pages that do not exist.
    files = [
        name for name in listed if name.endswith((".py", ".md", ".mk", ".toml", ".yml")) and "tests/unit/docs/" not in name
    ]
    named = {(name, page) for name in files for page in PAGE.findall((ROOT / name).read_text(encoding="utf-8"))}
    assert len(named) > 20
    assert sorted((name, page) for name, page in named if not (ROOT / page).exists()) == []
