"""The `autotool` command."""
