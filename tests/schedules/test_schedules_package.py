"""What `lightning_lr.schedules` re-exports, and names that it had when it was one module."""

from __future__ import annotations

import pytest

from lightning_lr import schedules
from lightning_lr.schedules.base import Steps
from lightning_lr.schedules.waves import wave_height


def test_public_names_exist_and_are_sorted() -> None:
    assert sorted(schedules.__all__, key=lambda name: (name.islower(), name)) == schedules.__all__
    assert all(hasattr(schedules, name) for name in schedules.__all__)


@pytest.mark.parametrize(
    ("old", "new", "path"),
    [
        ("Place", schedules.Position, "import Position from lightning_lr.schedules"),
        ("Steps", Steps, "import Steps from lightning_lr.schedules.base"),
        ("eased", wave_height, "import wave_height from lightning_lr.schedules.waves"),
    ],
)
def test_old_names_warn_with_the_new_path(old: str, new: object, path: str) -> None:
    with pytest.warns(DeprecationWarning, match=f"lightning_lr.schedules.{old} will be removed .*: {path}"):
        assert getattr(schedules, old) is new


def test_other_names_do_not_exist() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'Triangle'"):
        _ = schedules.Triangle
