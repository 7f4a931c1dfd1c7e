"""The contract that server, training and benchmarks share: modes, profiles, prompts, parsing, grammars and records.

Nothing here imports torch or a web framework.
"""
