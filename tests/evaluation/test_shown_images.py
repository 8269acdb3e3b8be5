import numpy as np
import pytest

from srgan_dist.distributed.group import SingleProcess
from srgan_dist.evaluation.evaluation_set import ImagePair
from srgan_dist.evaluation.shown_images import ShownImages

FLAT = np.full((24, 24, 3), 128, np.uint8)
PSNR = {"calm": (30.0, 30.1), "wild": (25.0, 31.0), "mild": (28.0, 29.0), "equal": (float("inf"), float("inf"))}


def watch(shown: ShownImages, numbers: range = range(4)) -> ShownImages:
    for number, (name, values) in enumerate(PSNR.items()):
        if number in numbers:
            pair = ImagePair(name, FLAT[::2, ::2], FLAT)
            results = {method: FLAT + n for n, method in enumerate(("one", "two"))}
            scores = {method: {"psnr_y": value} for method, value in zip(results, values, strict=True)}
            shown(number, pair, results, scores)
    return shown


def test_the_images_shown_are_those_where_the_models_differ_most_in_their_order():
    comparisons, _ = watch(ShownImages(2, ["one", "two"], count=2, side=64)).gather(SingleProcess())

    assert [c.name for c in comparisons] == ["wild", "mild"]
    assert comparisons[0].psnr_y == {"one": 25.0, "two": 31.0}


@pytest.mark.parametrize(
    ("others", "expected"),
    [(["bicubic", "nearest"], ["b", "c"]), (["nearest", "lanczos"], ["a", "b"]), ([], ["a", "b"])],
)
def test_one_model_is_compared_with_bicubic_or_the_other_methods_or_the_original(others: list[str], expected):
    values = {  # PSNR-Y by image
        "a": {"model": 27.0, "bicubic": 27.0, "nearest": 17.0, "lanczos": 27.0},
        "b": {"model": 28.0, "bicubic": 23.0, "nearest": 28.0, "lanczos": 21.0},
        "c": {"model": 29.0, "bicubic": 26.0, "nearest": 29.0, "lanczos": 29.0},
        "d": {"model": 30.0, "bicubic": 30.0, "nearest": 30.0, "lanczos": 31.0},
    }
    shown = ShownImages(2, ["model"], count=2, side=64)

    for index, (name, psnr) in enumerate(values.items()):
        methods = [*others, "model"]
        pair = ImagePair(name, FLAT[::2, ::2], FLAT)
        shown(index, pair, dict.fromkeys(methods, FLAT), {m: {"psnr_y": psnr[m]} for m in methods})

    assert [c.name for c in shown.gather(SingleProcess())[0]] == expected


def test_the_figure_shows_the_first_images_without_nearest():
    shown = ShownImages(2, ["one"], count=0, side=64, figure_rows=2)
    shown(0, ImagePair("a", FLAT[::2, ::2], FLAT), {"nearest": FLAT, "one": FLAT}, {"one": {"psnr_y": 1.0}})

    comparisons, rows = shown.gather(SingleProcess())

    assert not comparisons
    assert [[cell.title for cell in row] for row in rows] == [["a", "one", "HR"]]


@pytest.mark.parametrize(("models", "shown_too"), [(2, ["bilinear"]), (3, [])])
def test_the_figure_leaves_bilinear_out_where_it_needs_the_room(models: int, shown_too: list[str]):
    names = [f"model {n}" for n in range(models)]
    shown, methods = ShownImages(2, names, count=0, side=64, figure_rows=1), ["bilinear", "bicubic", *names]

    shown(0, ImagePair("a", FLAT[::2, ::2], FLAT), dict.fromkeys(methods, FLAT), {m: {"psnr_y": 1.0} for m in methods})

    (row,) = shown.gather(SingleProcess())[1]
    assert [cell.title for cell in row] == ["a", *shown_too, "bicubic", *names, "HR"]


class Together(SingleProcess):
    """Two processes, of which the other one has kept the given things."""

    def __init__(self, others: list[list[object]]) -> None:
        self._others = others

    def gather(self, mine: list[object]) -> list[object]:
        return self._others.pop(0) + mine


@pytest.mark.parametrize("count", [1, 2, 3])
def test_two_processes_show_what_one_would(count: int):
    alone, _ = watch(ShownImages(2, ["one", "two"], count, side=64)).gather(SingleProcess())
    first, second = (
        watch(ShownImages(2, ["one", "two"], count, side=64), numbers) for numbers in (range(0, 4, 2), range(1, 4, 2))
    )
    kept: list[list[object]] = []

    class Recorder(SingleProcess):
        def gather(self, mine: list[object]) -> list[object]:
            kept.append(list(mine))
            return mine

    second.gather(Recorder())
    together, _ = first.gather(Together(kept))

    assert [c.name for c in together] == [c.name for c in alone]


def test_of_a_large_image_the_square_is_shown_where_the_models_differ():
    hr = np.zeros((128, 96, 3), np.uint8)
    other = hr.copy()
    other[96:, 64:] = 255
    shown = ShownImages(2, ["one", "two"], count=1, side=32)

    shown(
        0, ImagePair("a", hr[::2, ::2], hr), {"one": hr, "two": other}, {"one": {"psnr_y": 9.0}, "two": {"psnr_y": 1}}
    )
    (comparison,), _ = shown.gather(SingleProcess())

    assert comparison.name == "a, 32x32 at x=64 y=96"
    assert (comparison.results["two"] == 255).all()
