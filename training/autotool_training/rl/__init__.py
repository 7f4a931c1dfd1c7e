"""The RL objective of AutoTool (arXiv 2603.13348) in pure torch, and its adapter on TRL's GRPOTrainer."""
