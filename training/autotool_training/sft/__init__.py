"""Supervised fine-tuning: a base learns both modes and when to use which."""
