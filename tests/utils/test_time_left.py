import pytest

from srgan_dist.utils.time_left import Plan, TimeLeft


class Run:
    """A run whose steps take a given time, on a clock of its own."""

    def __init__(self, *steps: int, every: int = 10**9, evaluated: float = 0.0, relative_cost: float = 1.0) -> None:
        self.now, self.step = 0.0, 0
        plan = Plan(steps, {"validation": every}, evaluated, relative_cost)
        self.time_left = TimeLeft(plan, lambda: self.now)
        self.time_left.start_phase(0)

    def steps(self, count: int, seconds: float, window: int = 10) -> None:
        for _ in range(count):
            self.now += seconds
            self.step += 1
            self.time_left.advance()
            if self.step % window == 0:
                self.time_left.synchronized()

    def validate(self, seconds: float) -> None:
        with self.time_left.activity("validation"):
            self.now += seconds

    def left(self, phase_start: int = 0) -> float | None:
        return self.time_left.seconds(self.step, phase_start)


def test_nothing_is_known_before_the_second_step():
    run = Run(100)
    assert run.left() is None
    run.steps(1, 60.0)  # compiles
    assert run.left() is None

    run.steps(1, 2.0)

    assert run.left() == pytest.approx(98 * 2.0)


@pytest.mark.parametrize("seconds", [0.01, 0.5, 4.0, 40.0])
def test_a_pause_of_ten_minutes_is_forgotten_within_a_minute(seconds: float):
    run = Run(1_000_000)
    run.steps(max(10, int(90 / seconds)), seconds)
    run.now += 600

    run.steps(1 + int(60 / seconds), seconds)

    assert run.left() == pytest.approx((1_000_000 - run.step) * seconds, rel=0.05)


def test_a_pause_right_after_the_start_is_forgotten_within_a_minute():
    run = Run(100_000)
    run.steps(5, 0.5)
    run.now += 600

    run.steps(120, 0.5)

    assert run.left() == pytest.approx((100_000 - run.step) * 0.5, rel=0.05)


def test_a_new_pace_is_adopted_within_a_minute():
    run = Run(100_000)
    run.steps(400, 0.5)

    run.steps(60, 1.0)

    assert run.left() == pytest.approx((100_000 - run.step) * 1.0, rel=0.05)


def test_steps_that_are_only_queued_until_a_window_ends_do_not_look_fast():
    run = Run(100_000)
    for _ in range(12):
        run.steps(99, 0.0001, window=100)
        run.now += 10.0
        run.steps(1, 0.0, window=100)

    assert run.left() == pytest.approx((100_000 - run.step) * 0.1, rel=0.05)


def test_validations_count_by_themselves_and_the_final_evaluation_by_its_size():
    run = Run(100, every=40, evaluated=3.0)
    run.steps(40, 1.0)
    run.validate(20.0)

    # 60 steps, a validation at 80 and one at the end of the phase, and the evaluation.
    assert run.left() == pytest.approx(60 * 1.0 + 2 * 20.0 + 3 * 20.0)


def test_a_validation_between_two_steps_does_not_slow_them():
    run = Run(100, every=10)
    for _ in range(4):
        run.steps(10, 1.0)
        run.validate(20.0)
    run.steps(5, 1.0)

    assert run.left() == pytest.approx(55 * 1.0 + 6 * 20.0)


def test_the_second_phase_is_estimated_by_its_cost_until_it_is_measured():
    run = Run(100, 50, relative_cost=4.0)
    run.steps(100, 1.0)
    assert run.left() == pytest.approx(50 * 4.0)

    run.time_left.start_phase(1)
    assert run.left(100) == pytest.approx(50 * 4.0)

    run.steps(20, 3.0)
    assert run.left(100) == pytest.approx(30 * 3.0)


def test_a_run_that_resumes_in_the_second_phase_knows_its_own_pace_only():
    run = Run(100, 50)
    run.step = 110
    run.time_left.start_phase(1)
    assert run.left(100) is None

    run.steps(10, 3.0)

    assert run.left(100) == pytest.approx(30 * 3.0)
