"""Run all faults and print the report: ``python -m tests.faults``."""

from __future__ import annotations

from tests.faults.catalogue import report, strike_everywhere

if __name__ == "__main__":
    print("\n".join(report(strike_everywhere())))
