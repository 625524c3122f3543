"""The learning rate: warm-up, course and end of every schedule."""

import itertools
import math

import pytest

from isoloss.core import registry
from isoloss.trainers._schedules import learning_rate

SCHEDULES = registry.options("trainer", "builtin")["schedule"]["enum"]


def rates(width=16, n_steps=200, **changes) -> list[float]:
    """The learning rate of every step of a run."""
    settings = {**registry.defaults("trainer", "builtin"), "n_steps": n_steps, "batch_items": 4}
    settings |= {"batch_size": 4, "peak_learning_rate": 0.1, **changes}
    return [learning_rate(step, width, settings) for step in range(n_steps)]


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("width", [8, 16, 64])
def test_the_peak_is_scaled_by_the_models_width_and_the_end_is_a_fraction_of_it(schedule, width):
    course = rates(width, schedule=schedule)
    assert max(course) == pytest.approx(0.1 * 16 / width)
    final = 1.0 if schedule == "constant" else 0.05
    assert course[-1] == pytest.approx(final * max(course))


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_every_schedule_warms_up_on_a_line_and_then_never_rises(schedule):
    course = rates(schedule=schedule, warmup_fraction=0.25)
    assert course[:50] == pytest.approx([0.1 * (step + 1) / 50 for step in range(50)])
    assert all(later <= before for before, later in itertools.pairwise(course[49:]))


def test_the_courses_are_those_of_their_names():
    middle = 20 + 180 // 2 - 1  # half of the steps behind the warm-up are over
    assert rates(schedule="cosine")[middle] == pytest.approx(0.1 * (0.05 + 0.95 / 2))
    assert rates(schedule="linear")[middle] == pytest.approx(0.1 * (0.05 + 0.95 / 2))
    quarter = 20 + 180 // 4 - 1
    cosine = 0.5 * (1 + math.cos(math.pi / 4))
    assert rates(schedule="cosine")[quarter] == pytest.approx(0.1 * (0.05 + 0.95 * cosine))
    assert rates(schedule="linear")[quarter] == pytest.approx(0.1 * (0.05 + 0.95 * 3 / 4))
    assert set(rates(schedule="constant")[20:]) == {0.1}
    stable = rates(schedule="wsd", decay_fraction=0.1)
    assert stable[20:180] == [0.1] * 160
    assert stable[189] == pytest.approx(0.1 * (0.05 + 0.95 / 2))


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("share", [0.0, 1.0])
@pytest.mark.parametrize("n_steps", [1, 2])
def test_no_schedule_needs_many_steps(schedule, share, n_steps):
    course = rates(n_steps=n_steps, schedule=schedule, warmup_fraction=share, decay_fraction=share)
    assert all(0 < rate <= 0.1 for rate in course)


def test_larger_batches_have_the_square_root_of_their_growth_in_the_rate():
    assert max(rates(batch_items=16)) == pytest.approx(2 * max(rates()))
