import pytest

from srgan_dist.training.schedules import CosineSchedule, MilestoneSchedule


def test_milestones_lower_the_rate_at_their_step():
    schedule = MilestoneSchedule(learning_rate=1.0, milestones=(10, 20), factor=0.1)

    assert [schedule.at(s, 30) for s in (0, 9, 10, 19, 20)] == pytest.approx([1, 1, 0.1, 0.1, 0.01])


def test_the_cosine_rises_then_falls_to_nothing():
    schedule = CosineSchedule(learning_rate=1.0, warmup=10)
    rates = [schedule.at(s, 100) for s in range(100)]

    assert rates[0] < 0.1
    assert max(rates) == pytest.approx(1, abs=0.03)
    assert rates[-1] < 0.001
