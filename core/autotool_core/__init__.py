"""The contract that server, training and benchmarks share: modes, prompt rendering, parsing.

Nothing here imports torch or a web framework.
"""
