"""Quotes: what a chat completion would come to, before it is asked for."""
