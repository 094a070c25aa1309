"""Everything that depends on the inside of Lightning's Trainer. Nothing here is public.

How a rehearsal trains without a trace: `snapshot` copies all state that training changes. `fit_loop` makes a new loop,
which takes the place of the Trainer's own, and `loaders` gives it the same data from its own iterators. `sweep` trains
in it with a list of learning rates, for `range_test` and for the `trials` of a search. `rehearsal` removes callbacks, loggers and
schedulers on entry, and on exit restores the Trainer and the snapshot. `strategies` has what differs between
distributed strategies.

Training itself uses `step_loss`, `run_lengths`, `lr_tracer`, `cycle_losses` and `loggers`; `range_test_report` and
`search_report` log what was found, with what `suggestion_report` has for both.
"""
