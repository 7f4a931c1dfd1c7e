"""The import of xgrammar's grammars alone, each in a process of its own."""

import json
import subprocess
import sys

TAG = json.dumps({"type": "structural_tag", "format": {"type": "json_schema", "json_schema": {"type": "object"}}})
SHOW = f"""
import json, sys
import xgrammar

libraries = [name for name in ("torch", "transformers") if sys.modules.get(name) is not None]
print(json.dumps([libraries, str(xgrammar.Grammar.from_structural_tag({TAG!r}))]))
"""
ALONE = "import autotool_server.conversation.schema_imports"
OF_ANOTHER_VERSION = """
from autotool_server.conversation import xgrammar_import

find = xgrammar_import.import_module
xgrammar_import.import_module = lambda name: find(name + "s" if name.endswith(".grammar") else name)
xgrammar_import.import_grammars()
"""


def run(*parts: str) -> tuple[list[str], str]:
    """Return the heavy libraries that a process has after the parts, and a grammar that it made."""
    program = "\n".join((*parts, SHOW))
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    libraries, grammar = json.loads(done.stdout.splitlines()[-1])
    return libraries, grammar


def test_grammars_are_the_same_without_torch_and_transformers() -> None:
    whole, expected = run()
    assert whole == ["torch", "transformers"]
    assert run(ALONE) == ([], expected)


def test_a_version_that_is_made_in_another_way_is_imported_as_a_whole() -> None:
    libraries, _ = run(OF_ANOTHER_VERSION)
    assert libraries == ["torch", "transformers"]
