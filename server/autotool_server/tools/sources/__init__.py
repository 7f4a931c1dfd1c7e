"""Where server tools come from: Python functions, HTTP endpoints, OpenAPI documents, MCP servers."""
