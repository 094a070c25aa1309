"""A tab of TensorBoard for learning rates: range tests, training and searches of all runs.

TensorBoard imports this package when it starts, so it imports neither torch nor Lightning. `record` is the form in
which `lightning_lr` writes what is more than a scalar, `reader` reads a run, `plugin` answers the browser, and
`static` is the page.
"""
