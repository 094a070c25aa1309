"""`python -m lightning_lr`."""

from lightning_lr.cli import main

if __name__ == "__main__":
    main()
