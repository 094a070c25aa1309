"""A learning rate that was found, to the hyperparameters of the loggers."""

from __future__ import annotations

import os
from typing import Any

from lightning.fabric.utilities.logger import _convert_params, _flatten_dict
from lightning.pytorch import LightningModule, Trainer

from lightning_lr.range_test.suggestion import Suggestion
from lightning_lr.trainer.lightning_packages import either, from_package_of
from lightning_lr.trainer.loggers import tensorboard_loggers
from lightning_lr.trainer.suggestion_report import SUGGESTION_KEYS

_FINDERS = ("lr_range_test", "lr_search")  # the first parts of what they log
_TENSORBOARD_LOGGERS = either("loggers.TensorBoardLogger")
_LOGGERS_THAT_REPLACE = (*either("loggers.CSVLogger"), *either("loggers.WandbLogger"))


def declare_metrics(trainer: Trainer, pl_module: LightningModule) -> None:
    """Make the learning rate that will be found a metric in TensorBoard's tab "HParams".

    The tab has the columns of the first record that describes an experiment, whichever run that is of. So this record
    names the scalars of both a range test and a search, and it must come before Lightning's own, which follows
    `on_fit_start`. It holds no values: the tab takes those of the scalars.

    Args:
        trainer: in ``on_fit_start``.
        pl_module: its module.
    """
    modules: list[Any] = [pl_module, vars(trainer).get("datamodule")]
    logging = [each for each in modules if getattr(each, "_log_hyperparams", False)]
    params = {key: value for each in logging for key, value in each.hparams_initial.items() if key != "_class_path"}
    metrics = {"hp_metric": -1.0, **{f"{tag}/{key}": 0.0 for tag in _FINDERS for key in SUGGESTION_KEYS}}
    for logger in tensorboard_loggers(trainer):
        if logging and logger._default_hp_metric:  # else Lightning writes no record, and a user may write one
            from torch.utils.tensorboard.summary import hparams

            flat = logger._sanitize_params(_flatten_dict(_convert_params(params)))
            experiment, _, _ = hparams(flat, metrics)  # type: ignore[no-untyped-call]
            logger.experiment._get_file_writer().add_summary(experiment, 0)


def log_found_lr(trainer: Trainer, pl_module: LightningModule, suggestion: Suggestion, is_first: bool) -> None:
    """Log ``found_lr``, ``found_base_lr`` and ``found_max_lr``, and the new ``lr`` or ``learning_rate``.

    TensorBoard shows the first record of hyperparameters only, so it gets no second one: ``hparams.yaml`` is written
    again. Some loggers (MLflow) raise an error if a value changes, so a logger that is not known to replace values gets
    the new keys only, and those once.

    Args:
        trainer: in ``fit``, after its own log of the hyperparameters.
        pl_module: its module, whose hyperparameters hold the new learning rate.
        suggestion: as applied.
        is_first: whether nothing was logged here in this fit before.
    """
    if not trainer.is_global_zero:
        return
    found = {"found_lr": suggestion.lr, "found_base_lr": suggestion.base_lr, "found_max_lr": suggestion.max_lr}
    hparams = pl_module.hparams
    names = [name for name in ("lr", "learning_rate") if isinstance(hparams.get(name), float)]
    module_lrs = {name: hparams[name] for name in names}
    loggers: list[Any] = trainer.loggers
    for logger in loggers:
        if isinstance(logger, _TENSORBOARD_LOGGERS):
            logger.hparams.update({**module_lrs, **found})
            path = os.path.join(logger.log_dir, logger.NAME_HPARAMS_FILE)  # may be a URL
            logger._fs.makedirs(logger.log_dir, exist_ok=True)
            from_package_of(trainer, "core.saving.save_hparams_to_yaml")(path, logger.hparams)
        elif isinstance(logger, _LOGGERS_THAT_REPLACE):
            logger.log_hyperparams({**module_lrs, **found})
        elif is_first:
            logger.log_hyperparams(found)
