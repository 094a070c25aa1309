"""A script that reads environment variables, and gives a callback the learning rate of the optimizer as a limit."""

from __future__ import annotations

from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from plain_model import Data, Net


class LinkedCLI(LightningCLI):
    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.link_arguments("model.lr", "trainer.callbacks.init_args.max_lr")


if __name__ == "__main__":
    LinkedCLI(Net, Data, parser_kwargs={"default_env": True})
