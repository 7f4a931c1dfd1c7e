"""What the process imports that workers of `schema_workers` are forked from."""

import gc

import autotool_server.conversation.schema_worker  # noqa: F401  # pyright: ignore[reportUnusedImport]

# A collection in a worker would visit all that was imported, which takes longer than most tasks, and copy its memory.
gc.collect()
gc.freeze()
