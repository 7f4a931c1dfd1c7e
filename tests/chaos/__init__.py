"""The chaos suite: mixed requests over real engines, databases and tools, which are killed meanwhile: docs/reliability.md."""
