"""Training of mode-switching checkpoints: data, labels, SFT, RL, recipes."""
