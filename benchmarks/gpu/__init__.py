"""What the callbacks cost on a GPU, and what they are worth on wide networks. See `benchmarks.gpu.__main__`."""
