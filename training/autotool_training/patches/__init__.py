"""Patches of libraries, each with the version that it is for and the reason."""
