"""`autotool chat`: a chat in the terminal (docs/guides/client.md)."""
