"""What outlives a request, in databases (https://docs.sqlalchemy.org/en/21/core/). Calls block: run them in threads."""
