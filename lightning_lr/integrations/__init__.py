"""The search of `lightning_lr.search`, run by other engines. Each module needs the extra of its name."""
