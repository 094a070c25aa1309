"""The search of `lightning_lr.search.bracket` run by other engines, each a module that needs its extra."""
