"""How fast the TensorBoard tab is: the start of tensorboard with and without it, the first picture, and a hover.

    python -m benchmarks.tensorboard_tab [screenshot.png]

It needs chromium. 50 runs have 1000 points each, of a learning rate and a loss, and a range test.
"""

from __future__ import annotations

import math
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from torch.utils.tensorboard import SummaryWriter

from lightning_lr_tensorboard.record import summary_of
from tests.helpers.browser import Page, chromium, find_chromium
from tests.helpers.tensorboard_server import TensorBoard, tensorboard

RUNS, POINTS, SWEEP = 50, 1000, 100
STARTS = 7
HOVERS = 200

_START = """
import sys
from tensorboard import default, program
from tensorboard.plugins import base_plugin
plugins = [each for each in default.get_static_plugins()]
if sys.argv[1] == "with":
    from lightning_lr_tensorboard.plugin import LearningRatePlugin
    plugins.append(LearningRatePlugin)
board = program.TensorBoard(plugins=plugins)
board.configure(["tensorboard", "--logdir", sys.argv[2], "--port", "0"])
board.launch()
"""

# Moves the mouse over a chart once a frame. Reads how long script and layout take for each move, and the frames.
_HOVER = f"""(async () => {{
  const body = document.querySelector('[data-chart=CHART] .chart-body');
  const box = body.getBoundingClientRect();
  const times = [], frames = [];
  let last = performance.now();
  for (let i = 0; i < {HOVERS}; i += 1) {{
    const [x, y] = [80 + (i * 37) % (box.width - 120), 30 + (i * 13) % (box.height - 80)];
    const place = {{ clientX: box.left + x, clientY: box.top + y }};
    const start = performance.now();
    body.dispatchEvent(new PointerEvent('pointermove', {{ ...place, bubbles: true }}));
    body.getBoundingClientRect();
    times.push(performance.now() - start);
    await new Promise(requestAnimationFrame);
    frames.push(performance.now() - last);
    last = performance.now();
  }}
  return [times, frames];
}})()"""


def write_runs(folder: Path) -> None:
    """Made-up runs: what is measured does not depend on the values."""
    noise = random.Random(0)
    lrs = [1e-7 * 10 ** (8 * i / SWEEP) for i in range(SWEEP)]
    for number in range(RUNS):
        with SummaryWriter(folder / f"run_{number:02}") as writer:
            values = [2 - 1 / (1 + (0.01 / lr) ** 2) + lr**2 + 0.1 * noise.random() for lr in lrs]
            test = {
                "kind": "range_test",
                "lrs": lrs,
                "values": values,
                "smoothed": values,
                "monitor": "loss",
                "lr": 0.01,
            }
            writer._get_file_writer().add_summary(summary_of("lr_range_test/record", {**test, "reasons": []}), 0)
            for step in range(POINTS):
                writer.add_scalar("lr/Adam", 0.01 * (1.1 + math.sin(step / 100 + number)), step)
                writer.add_scalar("lr/loss", 2 * math.exp(-step / 300) + 0.3 * noise.random(), step)


def seconds_to_start(which: str, folder: Path) -> float:
    """From the start of the process until the server has an address."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", _START, which, str(folder)], check=True, capture_output=True)
    return time.perf_counter() - start


def report_start(folder: Path) -> None:
    times: dict[str, list[float]] = {"without": [], "with": []}
    seconds_to_start("with", folder)  # reads the files into the cache of the system
    for _ in range(STARTS):
        for which, measured in times.items():
            measured.append(seconds_to_start(which, folder))
    medians = {which: statistics.median(measured) for which, measured in times.items()}
    ratio = medians["with"] / medians["without"]
    print(f"start: {medians['without']:.2f} s without, {medians['with']:.2f} s with the tab, ratio {ratio:.2f}")


def report_view(page: Page, board: TensorBoard, view: str, chart: str) -> None:
    page.open(f"{board.address}/#lightning_lr&view=%22{view}%22")
    lines = 2 * RUNS if view == "range" else RUNS
    page.wait_in_tab(f"document.querySelectorAll('[data-chart={chart}] .curves path').length >= {lines}")
    first = page.wait_in_tab("document.body.dataset.firstMilliseconds")
    time.sleep(1)
    times, frames = page.in_tab(_HOVER.replace("CHART", chart))
    print(
        f"{view}: first picture painted {first} ms after the data; script of a hover {statistics.median(times):.1f} ms"
        f" in the median, at most {max(times):.1f} ms; frames of {statistics.median(frames):.1f} ms, at most"
        f" {max(frames):.1f} ms"
    )


def main() -> None:
    program = find_chromium()
    if program is None:
        sys.exit("This needs chromium.")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "logs"
        write_runs(folder)
        report_start(folder)
        with tensorboard(folder) as board, chromium(program, Path(name) / "profile") as page:
            board.wait_for("data/plugin/lightning_lr/runs", lambda answer: len(answer["runs"]) == RUNS, 60)
            page.resize(1400, 1000)
            report_view(page, board, "range", "range_test")
            report_view(page, board, "training", "loss")
            if len(sys.argv) > 1:
                page.screenshot(Path(sys.argv[1]))


if __name__ == "__main__":
    main()
