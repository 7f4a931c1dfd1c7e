"""Benchmarks of token cost and of serving speed."""
