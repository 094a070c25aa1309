"""Everything that depends on the inside of Lightning's Trainer. Nothing here is public.

How a rehearsal trains and leaves no trace: `snapshot` copies all state that training changes. `fit_loop` makes a new
loop to replace the Trainer's own, and `loaders` gives it the same data through separate iterators. `sweep` trains in
that loop with a list of learning rates, for a `range_test` and for the `trials` of a search. `rehearsal` removes
callbacks, loggers and schedulers on entry; on exit it restores the Trainer and the snapshot. `strategies` holds what
differs between distributed strategies.

Training itself uses `step_loss`, `run_lengths`, `grad_scaler`, `lr_tracer`, `cycle_losses` and `loggers`.
`range_test_report`, `search_report` and, for both, `suggestion_report` log results.
"""
