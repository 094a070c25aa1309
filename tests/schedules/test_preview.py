"""Schedules drawn without training, in Python and from the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from matplotlib.image import imread

from lightning_lr import CyclicalLR, OneCycleLR
from lightning_lr.command_line.main import main
from lightning_lr.schedules.figure import cycles_figure


def test_values() -> None:
    preview = CyclicalLR(0.1, [0.3, 0.5], "1ep", warmup=2, weight_decay=(0.0, 0.1)).preview(7, steps_per_epoch=2)
    assert preview.lr == pytest.approx(
        np.array([[0.1 / 3] * 2, [0.2 / 3] * 2, [0.1, 0.1], [0.2, 0.3], [0.3, 0.5], [0.2, 0.3], [0.1, 0.1]])
    )
    assert preview.cycle.tolist() == [0, 0, 1, 1, 1, 1, 2]
    assert preview.phase.tolist() == [0, 0.5, 0, 0.25, 0.5, 0.75, 0]
    assert preview.momentum is None
    assert preview.weight_decay == pytest.approx(np.array([0.1, 0.1, 0.1, 0.05, 0, 0.05, 0.1]))


@pytest.mark.parametrize(("share", "steps"), [(0.25, 1001), (0.1, 1005), (0.33, 1000), (0.01, 1042), (0.25, 1000)])
def test_a_run_does_not_end_with_a_restart(share: float, steps: int) -> None:
    """Rounded shares leave some steps after the last whole cycle."""
    preview = CyclicalLR(0.0, 1.0, 0, f"{share}run").preview(steps)
    length = round(share * steps)
    whole = int(1 / share)
    assert preview.lr[: whole * length] == pytest.approx(np.tile(1 - np.arange(length) / length, whole))
    assert preview.lr[whole * length :].tolist() == [0.0] * (steps - whole * length)


def test_a_restart_with_room_stays() -> None:
    assert CyclicalLR(0.0, 1.0, 0, "0.4run").preview(100).lr[80:] == pytest.approx(1 - np.arange(20) / 40)


def test_figure_has_a_line_for_each_group_and_an_axis_for_each_value() -> None:
    figure = OneCycleLR([0.1, 0.2, 0.3], momentum=(0.8, 0.9)).preview(20).figure()
    top, below = figure.axes
    assert [line.get_ydata().max() for line in top.lines] == pytest.approx([0.1, 0.2, 0.3], rel=0.02)  # type: ignore[union-attr]
    assert below.get_ylabel() == "momentum"
    assert below.get_xlabel() == "optimizer step"


def test_figure_of_all_cycles() -> None:
    points = np.array([(cycle, phase, cycle + phase) for cycle in (1, 2, 3) for phase in np.linspace(0, 1, 30)])
    (axes,) = cycles_figure(points).axes
    assert len(axes.lines) == 3
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["cycle 1", "cycle 2", "cycle 3"]  # type: ignore[union-attr]
    assert axes.get_yscale() == "log"
    points[0, 2] = -1.0  # a loss that is a negative log-likelihood of densities
    assert cycles_figure(points).axes[0].get_yscale() == "linear"
    many = np.array([(cycle, phase, 1.0) for cycle in range(1, 13) for phase in np.linspace(0, 1, 30)])
    axes, bar = cycles_figure(many).axes
    assert axes.get_legend() is None
    assert bar.get_ylabel() == "cycle"
    assert bar.get_ylim() == (0.5, 12.5)


def _config(path: Path, trainer: dict[str, Any], **sections: Any) -> Path:
    path.write_text(yaml.safe_dump({"trainer": trainer, "seed_everything": 1, **sections}))
    return path


CYCLE = {"class_path": "lightning_lr.CyclicalLR", "init_args": {"base_lr": 0.01, "max_lr": 0.1, "step_size": "2ep"}}
IN_STEPS = {"class_path": "CyclicalLR", "init_args": {"base_lr": 0.01, "max_lr": 0.1, "step_size": 50}}


@pytest.mark.parametrize(
    ("trainer", "more", "said"),
    [
        ({"max_epochs": 12, "callbacks": [{"class_path": "LRTrace"}, CYCLE]}, [], "CyclicalLR over 12 epochs"),
        ({"max_epochs": 12, "callbacks": CYCLE}, ["--steps_per_epoch=7"], "CyclicalLR over 84 steps"),
        ({"max_steps": 300, "callbacks": [IN_STEPS]}, [], "CyclicalLR over 300 steps"),
        ({"callbacks": ["lightning_lr.OneCycleLR"]}, ["--steps=40"], "OneCycleLR over 40 steps"),
        ({"max_epochs": 3, "callbacks": ["WarmupStableDecayLR"]}, [], "WarmupStableDecayLR over 3 epochs"),
    ],
)
def test_command_line(
    trainer: dict[str, Any], more: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = _config(tmp_path / "config.yaml", trainer, model={"lr": 0.1})
    picture = tmp_path / "new" / "a.png"
    main(["preview", "-c", str(config), "-o", str(picture), *more])
    assert capsys.readouterr().out == f"{said}: {picture}\n"
    assert imread(picture).std() > 0
    assert list(picture.parent.iterdir()) == [picture]


@pytest.mark.parametrize(
    ("trainer", "message"),
    [
        ({"max_steps": 9, "callbacks": [IN_STEPS, IN_STEPS]}, "got 2: leave one of them in the config"),
        ({"max_epochs": 12, "callbacks": [IN_STEPS]}, "some lengths are in steps, the run is in epochs"),
        ({"callbacks": [CYCLE]}, "the length of the run is not in the trainer's section: give --steps"),
        (
            {"max_steps": 9, "callbacks": [CYCLE]},
            "steps_per_epoch must be given, since lengths of CyclicalLR are in epochs, got None",
        ),
        ({"max_steps": 9, "callbacks": [{"class_path": "LRTrace"}]}, "must name one of CyclicalLR, OneCycleLR"),
        ({"max_steps": 9}, "got 0: the config has no schedule, so add one"),
        ({"max_steps": 9, "callbacks": [None, CYCLE]}, "trainer.callbacks must hold classes only, got None: remove it"),
        ({"max_epochs": 5.0, "callbacks": [CYCLE]}, "trainer.max_epochs must be a whole number of at least 1, got 5.0"),
        ({"max_epochs": True, "callbacks": [CYCLE]}, "trainer.max_epochs must be a whole number of at least 1"),
        ({"max_steps": 9, "callbacks": [{**CYCLE, "init_args": {"base": 1}}]}, "base"),
    ],
)
def test_bad_configs(trainer: dict[str, Any], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = _config(tmp_path / "config.yaml", trainer)
    with pytest.raises(SystemExit) as exit_:
        main(["preview", "-c", str(config), "-o", str(tmp_path / "a.png")])
    assert exit_.value.code == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "a.png").exists()


@pytest.mark.parametrize(
    ("text", "more", "message"),
    [
        ("trainer: [a", [], "config.yaml is not YAML:"),
        ("a sentence", [], "trainer.callbacks must name one of"),
        (yaml.safe_dump({"trainer": {"max_epochs": 2, "callbacks": [CYCLE]}}), ["--steps_per_epoch=0"], "steps_per_ep"),
        (
            yaml.safe_dump({"trainer": {"max_epochs": "x", "callbacks": [CYCLE]}}),
            [],
            "trainer.max_epochs must be a whole number of at least 1",
        ),
        (
            yaml.safe_dump({"trainer": {"callbacks": [CYCLE]}}),
            ["--steps=9", "--steps_per_epoch=3", "-o", "/dev/null/a.png"],
            "output must lie in a folder that can be written to, got /dev/null/a.png (",
        ),
        ("trainer: {}", ["-o", "picture"], "output must be a file whose suffix gives the format, got picture: add"),
        ("trainer: {}", ["-o", str(Path(__file__).parent)], "output must be a file whose suffix gives the format"),
    ],
)
def test_bad_command_lines(
    text: str, more: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(SystemExit) as exit_:
        main(["preview", "-c", str(tmp_path / "config.yaml"), *more])
    assert exit_.value.code == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_max_steps_end_a_run_before_max_epochs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = _config(tmp_path / "config.yaml", {"max_epochs": 12, "max_steps": 50, "callbacks": [CYCLE]})
    main(["preview", "-c", str(config), "-o", str(tmp_path / "a.png"), "--steps_per_epoch=3"])
    assert "over 36 steps" in capsys.readouterr().out
