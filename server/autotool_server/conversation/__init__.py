"""What every protocol shares: turns, tool calls between them, constraints on answers."""
