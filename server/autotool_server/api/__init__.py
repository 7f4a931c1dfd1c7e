"""HTTP: one folder a protocol, and what all protocols need at the door."""
