"""Write the rows of all projects as one page: python clients/table.py ROWS.jsonl ... > docs/clients.md"""

from __future__ import annotations

import datetime
import json
import sys
from pathlib import Path
from typing import Any

_HEAD = """\
# Inside real projects

`make clients` writes this page. `clients/` trains models of real projects through their public interfaces,
with each feature and without. All runs are on the CPU, with one thread and one seed.

{versions}

## Projects

| project | version | Trainer | metric (lower is better) |
|---|---|---|---|
{projects}

## Results

- **rate**: the learning rate that was found, and the bounds [base_lr, max_lr].
- **metric**: at the end of training. In brackets: without callbacks, at the project's default learning rate.
- **bit-identical**: whether all losses and the final weights equal those of a run without callbacks that starts with
  the same learning rate. Only for features that must not change the training.
- **figures** and **scalars**: what this package logged to TensorBoard.
- **rates used**: lowest and highest learning rate of the training. The schedulers of neuralforecast (decay), chemprop
  (warm-up to 10 times the first rate, then decay) and pytorch-forecasting (on a plateau) change it. The warm-up of
  chemprop peaks at the rate that was found.
- **copied**: the project copies its callbacks, so `result` of the callback that was passed stays None.
- `CyclicalLR(replace_scheduler=True)` follows an `LRRangeTest`, which sets its bounds. It replaces the scheduler of a
  project that has one.

| project | feature | runs | rate | metric | bit-identical | figures | scalars | rates used |
|---|---|---|---|---|---|---|---|---|
{results}
"""

_REFUSED = "\n## What did not run\n\n{refusals}\n"


def main() -> None:
    """Print the page."""
    rows = [json.loads(line) for path in sys.argv[1:] for line in Path(path).read_text().splitlines()]
    refused = [row for row in rows if not row["runs"]]
    print(
        _HEAD.format(
            versions=_versions(rows[0]["versions"]),
            projects="\n".join(dict.fromkeys(map(_project, rows))),
            results="\n".join(map(_result, rows)),
        ),
        end="",
    )
    if refused:
        print(_REFUSED.format(refusals="\n".join(map(_refusal, refused))), end="")


def _versions(versions: dict[str, str]) -> str:
    packages = ", ".join(f"{name} {version}" for name, version in versions.items())
    return f"{datetime.date.today().isoformat()}: {packages}."


def _project(row: dict[str, Any]) -> str:
    return f"| {row['project']} | {row['project_version']} | `{row['trainer']}` | `{row['metric_key']}` |"


def _result(row: dict[str, Any]) -> str:
    if not row["runs"]:
        return f"| {row['project']} | {row['feature']} | **no** | | | | | | |"
    rate = f"{row['lr']:.2g} [{row['base_lr']:.2g}, {row['max_lr']:.2g}]" if "lr" in row else ""
    same = "" if "differs" not in row else "yes" if row["differs"] is None else f"**no**: {row['differs']}"
    cells = [
        row["project"],
        row["feature"],
        "yes, copied" if row["copied"] else "yes",
        rate if row.get("confident", True) else f"{rate}, not confident",
        f"{row['metric']:.4g} ({row['default_metric']:.4g})",
        same,
        ", ".join(f"`{tag}`" for tag in row["figures"]) or "none",
        str(len(row["scalars"])),
        f"{row['lowest_lr']:.2g} to {row['highest_lr']:.2g}",
    ]
    return f"| {' | '.join(cells)} |"


def _refusal(row: dict[str, Any]) -> str:
    return f"- {row['project']}, {row['feature']}: {row['error']} ({', '.join(row['raised_in'])})"


if __name__ == "__main__":
    main()
