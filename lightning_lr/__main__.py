"""`python -m lightning_lr`."""

from lightning_lr.command_line.main import main

if __name__ == "__main__":
    main()
