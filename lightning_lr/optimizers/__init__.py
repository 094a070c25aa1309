"""Optimizers of torch: their parameter groups, learning rates, steps and schedulers."""
