"""`LRCLI` for modules and scripts of ``pytorch_lightning``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lightning_lr.command_line.lr_cli import LRCommands
from lightning_lr.command_line.short_errors import ShortErrors

if TYPE_CHECKING:  # to a type checker the two packages are one
    from lightning.pytorch import Trainer
    from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
else:
    from pytorch_lightning import Trainer
    from pytorch_lightning.cli import LightningArgumentParser, LightningCLI


class ShortErrorParser(ShortErrors, LightningArgumentParser):
    """The parser of `LRCLI`."""


class LRCLI(LRCommands, LightningCLI):
    """`lightning_lr.command_line.LRCLI` for modules of ``pytorch_lightning``."""

    _trainer_class = Trainer
    _parser_class = ShortErrorParser
