"""JSON schemas as xgrammar holds them: rewritten to equal ones, or refused by name."""
