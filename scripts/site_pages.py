"""A hook of MkDocs: makes the site's pages from README.md, CONTRIBUTING.md and CHANGELOG.md, which stay at the root.

Links in these files are relative to the root, so that code hosts show them right; here they become relative to docs/.
"""

import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files

ROOT = Path(__file__).parent.parent
PAGES = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}


def site_page(text: str) -> str:
    """Return the text of a file at the root with its links made relative to docs/."""
    text = re.sub(r"\]\(docs/", "](", text)
    for name, page in PAGES.items():
        text = text.replace(f"]({name}", f"]({page}")
    return text


def on_files(files: "Files", config: "MkDocsConfig") -> "Files":
    """Add the pages. MkDocs calls this hook once it has listed the files of docs/."""
    from mkdocs.structure.files import File  # noqa: PLC0415 the tests import this module without MkDocs

    for name, page in PAGES.items():
        files.append(File.generated(config, page, content=site_page((ROOT / name).read_text(encoding="utf-8"))))
    return files
