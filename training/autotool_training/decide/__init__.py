"""Trains the decision of `auto` alone: a decision head, behind which the checkpoint's own weights answer as before."""
