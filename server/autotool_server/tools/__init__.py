"""The tool executor: server tools, registered once and run by the server inside a request (docs/tools.md)."""
