"""What the process imports that workers of `schema_workers` are forked from."""

import gc
from importlib import import_module

from autotool_server.conversation.xgrammar_import import import_grammars

import_grammars()
import_module("autotool_server.conversation.schema_worker")  # after xgrammar, which it imports

# A collection in a worker would visit all that was imported, which takes longer than most tasks, and copy its memory.
gc.collect()
gc.freeze()
