import numpy as np
import pytest

from srgan_dist.evaluation import tradeoff
from srgan_dist.evaluation.results import Evaluation, Row
from srgan_dist.evaluation.ticks import round_ticks
from srgan_dist.evaluation.tradeoff import _Axes, draw_tradeoff


def evaluation(**methods: tuple[float, float | None]) -> Evaluation:
    rows = [
        Row("set", "a", name, {"psnr_y": psnr} | ({"niqe": niqe} if niqe else {}))
        for name, (psnr, niqe) in methods.items()
    ]
    return Evaluation(4, rows, [Row("set", "a", "HR", {"niqe": 4.9})])


def test_better_is_to_the_right_and_below():
    axes = _Axes([(26.0, 7.6), (24.9, 4.76)], 4.9)
    (faithful_x, faithful_y), (natural_x, natural_y) = axes.place((26.0, 7.6)), axes.place((24.9, 4.76))

    assert faithful_x > natural_x
    assert natural_y > faithful_y


def test_a_dot_is_drawn_for_each_method_that_has_both_numbers():
    one = draw_tradeoff(evaluation(bicubic=(26.0, 7.6)))
    two = draw_tradeoff(evaluation(bicubic=(26.0, 7.6), GAN=(26.0, 7.6)))
    same = draw_tradeoff(evaluation(bicubic=(26.0, 7.6), other=(30.0, None), perfect=(float("inf"), 5.0)))

    assert one is not None
    assert one.shape == (480, 760, 3)
    assert not np.array_equal(one, two)
    assert np.array_equal(one, same)


def test_without_niqe_there_is_no_plot():
    assert draw_tradeoff(evaluation(bicubic=(26.0, None))) is None


def test_ticks_are_round_and_enclose_the_values():
    for values in ([24.6, 28.5], [5.0], [0.001, 0.002], [4.0, 4.0], [-3.0, 120.0]):
        ticks = round_ticks(values)
        assert ticks[0] < min(values) <= max(values) < ticks[-1]
        assert 3 <= len(ticks) <= 9


def test_labels_of_close_dots_stand_in_the_order_of_the_dots(monkeypatch: pytest.MonkeyPatch):
    labels: list[str] = []
    monkeypatch.setattr(tradeoff, "_label", lambda _, text, *__: labels.append(text))

    draw_tradeoff(evaluation(first=(35.88, 6.49), second=(35.85, 6.63), third=(35.9, 6.4)))

    assert labels == ["second", "first", "third"]
