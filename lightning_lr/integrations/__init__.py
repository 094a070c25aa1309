"""The search of `lightning_lr.bracket` run by other engines, each a module that needs its extra."""
