"""The callbacks, one public callback a file: its arguments, its hooks and the keys of its checkpoint state.

- A schedule (`CyclicalLR`, `OneCycleLR`, `WarmupStableDecayLR`) derives from `_scheduled_lr`, which keeps the state of
  one fit in `_schedule_run`, checks optimizers with `_optimizer_checks`, and saves time with `_skipped_hooks`.
- A callback that finds a learning rate (`LRRangeTest`, `LRSearch`) derives from `_lr_finder`. `_apply_suggestion` sets
  what was found everywhere; `_applied` says what was set.
- All have the rules for their arguments in `_argument_rules`, and save and compare them with `_saved_arguments`.
"""
