"""The wave forms, and the names by which users choose them."""

from __future__ import annotations

from typing import get_args

import pytest

from lightning_lr.schedules.waves import WAVE_FORMS, Wave, wave_height


def test_every_wave_has_a_name_that_users_can_give() -> None:
    assert set(WAVE_FORMS) == set(get_args(Wave))


@pytest.mark.parametrize("wave", get_args(Wave))
def test_every_wave_rises_from_0_to_1(wave: Wave) -> None:
    heights = [wave_height(step / 100, wave) for step in range(101)]
    assert (heights[0], heights[-1]) == (0, 1)
    assert heights == sorted(heights)
