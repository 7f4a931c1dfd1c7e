"""Measurements of speed: load, overhead, memory, tool loops, side-by-side servers."""
