import numpy as np
import pytest

from srgan_dist.inference.tiling import batches, best_sides, spans, windows


@pytest.mark.parametrize(("height", "width"), [(1, 1), (17, 300), (250, 251), (64, 64)])
@pytest.mark.parametrize("side", [1, 16, 100])
@pytest.mark.parametrize(("margin", "align"), [(0, 1), (7, 1), (40, 16)])
def test_every_pixel_is_the_result_of_one_window(height: int, width: int, side: int, margin: int, align: int):
    times = np.zeros((height, width), int)

    for w in windows(height, width, (side, side), margin, align):
        times[w.rows.first : w.rows.last, w.columns.first : w.columns.last] += 1

    assert (times == 1).all()


@pytest.mark.parametrize("length", [5, 100, 333])
def test_a_window_reads_the_margin_wherever_the_image_has_it(length: int):
    for span in spans(length, side=20, margin=9, align=16):
        assert span.start <= max(0, span.first - 9)
        assert span.stop >= min(length, span.last + 9)
        assert span.start % 16 == 0


def test_batches_hold_windows_of_one_shape():
    tiles = windows(500, 500, (64, 64), 16)

    groups = list(batches(tiles, 4))

    assert sorted(w for g in groups for w in g) == sorted(tiles)
    assert all(len({w.shape for w in g}) == 1 and len(g) <= 4 for g in groups)


def test_chosen_tiles_fit_the_memory_with_little_overlap():
    tiles = windows(1500, 2000, best_sides(1500, 2000, 1.4e6, margin=40, align=16), margin=40, align=16)

    read = sum(w.shape[0] * w.shape[1] for w in tiles)

    assert max(w.shape[0] * w.shape[1] for w in tiles) <= 1.4e6
    assert read < 1.12 * 1500 * 2000


def test_a_image_that_fits_is_one_tile():
    assert best_sides(300, 400, 1e6, margin=40) == (300, 400)
