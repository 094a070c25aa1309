"""Torch's optimizers: parameter groups, learning rates, finished steps and schedulers. Nothing in it is public."""
