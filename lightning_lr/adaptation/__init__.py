"""The adaptation of learning rates while training, by the hypergradient."""
