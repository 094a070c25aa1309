"""The arguments of everything public, with their defaults, as a table.

**A change of this table is a decision**: calls and YAML files of users depend on each entry. A failing test says which
entries of the table the code no longer has, and which it has beside them. If the change is not wanted, mend the code.
If it is, edit the table by hand and say so in ``CHANGELOG.md``.
"""

from __future__ import annotations

from tests.helpers.public_interface import difference, public_signatures

# Line breaks do not count. "schedules.Cyclical" is imported from ``lightning_lr.schedules``.
# "(is LRCurve)" marks a second place from which the same object can be imported.
ARGUMENTS = {
    "CyclicalLR": """
        base_lr=None, max_lr=None, step_size='2ep', step_size_down=None, mode='triangular', gamma=None, decay=None,
        scale_fn=None, scale_mode='cycle', wave='triangle', cycle_mult=1.0, num_cycles=None, fit_cycles=False,
        warmup=None, momentum=None, weight_decay=None, optimizer=None, snapshot_cycles=False,
        replace_scheduler=False, log_position=False
    """,
    "CyclicalLR.drives_optimizer": "index",
    "CyclicalLR.preview": "steps, steps_per_epoch=None",
    "CyclicalLR.set_bounds": "base_lr, max_lr",
    "CyclicalLR.set_bounds_from": "suggestion",
    "CyclicalLR.length_units": "(property)",
    "HypergradientLR": """
        rule='long_horizon', beta=None, horizon=None, per_group=False, every='auto', adapt=True, guard=True,
        save_anchor=True, min_lr=None, max_lr=None, freeze_after=None, decay='auto'
    """,
    "HypergradientLR.restart": "optimizer",
    "LRCurve": "lrs, losses, monitor='loss', mode='min'",
    "LRCurve.cost": "(property)",
    "LRCurve.from_csv": "path, mode='min'",
    "LRCurve.from_dict": "plain",
    "LRCurve.from_json": "path",
    "LRCurve.num_finite": "(property)",
    "LRCurve.smoothed": "",
    "LRCurve.to_csv": "path",
    "LRCurve.to_dict": "",
    "LRCurve.to_json": "path",
    "LRRangeTest": """
        min_lr=1e-07, max_lr=10.0, num_steps=100, mode='exponential', steps_per_lr=1, lrs=None, monitor=None,
        monitor_mode='min', eval_batches=10, rule='dual', apply=True, at_epochs=(0,), verify=True,
        output_dir=None, snapshot='device'
    """,
    "LRSearch": """
        min_lr=1e-07, max_lr=10.0, budget=None, monitor=None, monitor_mode='min', steps_per_eval=10, eval_batches=10,
        limit_batches=1.0, apply=True, output_dir=None, snapshot='device'
    """,
    "LRTrace": "",
    "OneCycleLR": """
        max_lr=None, total_steps='1run', pct_start=0.3, three_phase=False, div_factor=25.0, final_div_factor=10000.0,
        wave='cosine', momentum=None, weight_decay=None, optimizer=None, replace_scheduler=False
    """,
    "OneCycleLR.drives_optimizer": "index",
    "OneCycleLR.preview": "steps, steps_per_epoch=None",
    "OneCycleLR.set_max_lr": "max_lr",
    "OneCycleLR.set_bounds_from": "suggestion",
    "OneCycleLR.length_units": "(property)",
    "command_line.LRCLI": "*args, **kwargs",
    "command_line.LRCLI.add_core_arguments_to_parser": "parser",
    "command_line.LRCLI.before_instantiate_classes": "",
    "command_line.LRCLI.init_parser": "**kwargs",
    "command_line.LRCLI.instantiate_classes": "",
    "command_line.LRCLI.lr_range_test": "**kwargs",
    "command_line.LRCLI.lr_search": "**kwargs",
    "command_line.LRCLI.subcommands": "",
    "lr_range_test": "trainer, model, train_dataloaders=None, val_dataloaders=None, datamodule=None, **arguments",
    "lr_search": "trainer, model, train_dataloaders=None, val_dataloaders=None, datamodule=None, **arguments",
    "RangeTestResult": "lr, base_lr, max_lr, one_cycle_max_lr, confident, reasons, curve, epoch, search=None",
    "RangeTestResult.decay_lr": "(property)",
    "SearchResult": "lr, base_lr, max_lr, one_cycle_max_lr, confident, reasons, candidates, good_lrs, steps",
    "SearchResult.decay_lr": "(property)",
    "SearchResult.middle": "(property)",
    "Suggestion": "lr, base_lr, max_lr, one_cycle_max_lr, confident, reasons",
    "Suggestion.decay_lr": "(property)",
    "WarmupStableDecayLR": """
        max_lr=None, warmup='0.05run', decay='0.2run', total_steps='1run', optimizer=None, replace_scheduler=False
    """,
    "WarmupStableDecayLR.drives_optimizer": "index",
    "WarmupStableDecayLR.preview": "steps, steps_per_epoch=None",
    "WarmupStableDecayLR.set_max_lr": "max_lr",
    "WarmupStableDecayLR.set_bounds_from": "suggestion",
    "WarmupStableDecayLR.length_units": "(property)",
    "ensemble": "checkpoints, model_class, average=False, activation=None, loader=None, **kwargs",
    "suggest": "curve, rule='dual', update='normalized', steps_per_point=1",
    "adaptation.Additive": "beta, sign_changes=0, last_value=0.0",
    "adaptation.Additive.update": """
        alignment, lr, steps, loss=LossState(has_learned=True, has_risen=False, gain=0.0)
    """,
    "adaptation.Alignment": "dot, gradient_norm, displacement_norm",
    "adaptation.Alignment.cosine": "(property)",
    "adaptation.Alignment.is_known": "(property)",
    "adaptation.DivergenceDetector": """
        losses=<factory>, mean_square_norm=0.0, steps_since_return=0, returns=0, num_suspect=0
    """,
    "adaptation.DivergenceDetector.add_loss": "loss",
    "adaptation.DivergenceDetector.after_return": "",
    "adaptation.DivergenceDetector.is_far_off": "gradient_norm",
    "adaptation.DivergenceDetector.is_suspect": "(property)",
    "adaptation.DivergenceDetector.load_state": "state",
    "adaptation.DivergenceDetector.state": "",
    "adaptation.FinalDecay": "length, run_length",
    "adaptation.FinalDecay.factor": "step",
    "adaptation.FinalDecay.start": "(property)",
    "adaptation.LongHorizon": """
        sign_changes=0, count=0, mean=0.0, mean_square=0.0, mean_square_norm=0.0, has_overshot=False
    """,
    "adaptation.LongHorizon.update": """
        alignment, lr, steps, loss=LossState(has_learned=True, has_risen=False, gain=0.0)
    """,
    "adaptation.Multiplicative": "beta, sign_changes=0, last_value=0.0",
    "adaptation.Multiplicative.update": """
        alignment, lr, steps, loss=LossState(has_learned=True, has_risen=False, gain=0.0)
    """,
    "range_test.RULES": "(constant)",
    "range_test.LRCurve": "(is LRCurve)",
    "range_test.Rule": "'dual', 'smith', 'minimum', 'valley', 'slide', 'steepest'",
    "range_test.Suggestion": "(is Suggestion)",
    "range_test.has_diverged": "lrs, losses",
    "range_test.range_test_figure": "curve, chosen, lrs, rule",
    "range_test.smooth": "values, sigma_share=0.03",
    "range_test.suggest": "(is suggest)",
    "range_test.sweep_lrs": "min_lr, max_lr, num_steps, mode='exponential'",
    "schedules.Cyclical": """
        up, down, mode='triangular', gamma=1.0, wave='triangle', cycle_mult=1.0, num_cycles=None, warmup=0,
        scale_fn=None, scale_mode='cycle'
    """,
    "schedules.Cyclical.at": "step",
    "schedules.Cyclical.resume_step": "cycle, phase, step",
    "schedules.Cyclical.start_peak_end": "cycle",
    "schedules.Cyclical.stretched_to": "steps",
    "schedules.Cyclical.total_steps": "(property)",
    "schedules.Cyclical.without_late_restart": "steps, share",
    "schedules.OneCycle": "total_steps, pct_start=0.3, three_phase=False, final_div_factor=10000.0, wave='cosine'",
    "schedules.OneCycle.at": "step",
    "schedules.OneCycle.resume_step": "cycle, phase, step",
    "schedules.Position": "cycle, phase, base_factor, amplitude",
    "schedules.Position.lr": "base_lr, max_lr",
    "schedules.Preview": "lr, cycle, phase, momentum=None, weight_decay=None",
    "schedules.Preview.figure": "steps_per_epoch=None, of_max_lr=False",
    "schedules.Schedule": "(protocol)",
    "schedules.Schedule.at": "step",
    "schedules.Schedule.resume_step": "cycle, phase, step",
    "schedules.WarmupStableDecay": "warmup, decay, total_steps",
    "schedules.WarmupStableDecay.at": "step",
    "schedules.WarmupStableDecay.resume_step": "cycle, phase, step",
    "schedules.Wave": "'triangle', 'cosine'",
    "schedules.lr_at": "schedule, step, base_lr, max_lr",
    "search.Bracket": """
        min_lr=1e-07, max_lr=10.0, budget=None, every=1, mode='min', extends=True, max_steps=None,
        resumes_trials=False
    """,
    "search.Bracket.ask": "",
    "search.Bracket.best": "(property)",
    "search.Bracket.best_of_rung": "rung",
    "search.Bracket.from_state": "state",
    "search.Bracket.is_done": "(property)",
    "search.Bracket.lowest_diverged": "(property)",
    "search.Bracket.longest": "(property)",
    "search.Bracket.may_continue": "lr",
    "search.Bracket.min_lr": "(property)",
    "search.Bracket.num_planned": "(property)",
    "search.Bracket.rungs": "(property)",
    "search.Bracket.spent": "(property)",
    "search.Bracket.state": "",
    "search.Bracket.stops": "trial, values",
    "search.Bracket.tell": "trial, values, spent=None, error=None",
    "search.Bracket.told": "(property)",
    "search.Candidate": "lr, rung, steps, score, verdict, why, values",
    "search.Outcome": "trial, values, score, end, error=None",
    "search.Outcome.lr": "(property)",
    "search.Outcome.plain": "spent",
    "search.SearchResult": "(is SearchResult)",
    "search.Trial": "lr, rung, steps",
    "search.Verdict": "'very high', 'high', 'good', 'low'",
    "search.leaderboard": "bracket",
    "search.search_figure": "candidates, every=1, monitor='loss', mode='min', suggested_lr=None",
    "search.search_result": "bracket, run_steps=inf, update='normalized'",
}


def test_public_arguments() -> None:
    listed = {name: " ".join(arguments.split()) for name, arguments in ARGUMENTS.items()}
    actual = {name: ", ".join(arguments) for name, arguments in public_signatures().items()}
    told = [difference("public names", listed, actual)]
    told += [
        f"{name}\n    in the table: {listed[name]}\n    in the code:  {actual[name]}"
        for name in sorted(listed.keys() & actual.keys())
        if listed[name] != actual[name]
    ]
    assert not any(told), "\n".join(told)
