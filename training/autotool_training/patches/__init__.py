"""Patches of libraries; each module names the library, the version that it is for, and the reason."""
