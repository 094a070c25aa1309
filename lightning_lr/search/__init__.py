"""The search from coarse to fine: which learning rates are tried, and what becomes of each."""
