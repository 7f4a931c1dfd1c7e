"""Refinement: choosing the records that reinforcement learning trains on."""
