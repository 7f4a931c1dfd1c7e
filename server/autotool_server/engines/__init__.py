"""Engines decode tokens: vLLM in this process, a remote vLLM server, or transformers."""
