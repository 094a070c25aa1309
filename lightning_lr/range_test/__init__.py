"""The range test: its learning rates, its curve, and the rules that read a learning rate off it."""
