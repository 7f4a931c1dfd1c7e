"""Refinement: which records reinforcement learning should train on."""
