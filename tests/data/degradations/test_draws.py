"""From the papers: the distributions of Real-ESRGAN's second-order degradation, over two hundred thousand crops."""

import functools

import numpy as np
import pytest

from srgan_dist.data.degradations import RealESRGANDegradation
from srgan_dist.data.degradations.draws import NONE, SINC

COUNT = 200_000
OFTEN = 5 / np.sqrt(4 * COUNT)  # five standard deviations of the frequency of an event of probability one half
SIZES = np.arange(7, 22, 2)


@functools.cache
def draws():
    return RealESRGANDegradation().draw(7, np.arange(COUNT, dtype=np.uint64))


def often(events, probability, among=COUNT):
    assert np.mean(events) == pytest.approx(probability, abs=OFTEN * np.sqrt(COUNT / among))


def uniform(values, low, high):
    """Kolmogorov-Smirnov, at a level of about one in ten million."""
    assert low <= values.min()
    assert values.max() <= high
    steps = (np.sort(values) - low) / (high - low)
    assert np.abs(steps - (np.arange(len(steps)) + 0.5) / len(steps)).max() < 2.9 / np.sqrt(len(steps))


@pytest.mark.parametrize(("stage", "sigma", "blurred"), [("first", (0.2, 3.0), 1.0), ("second", (0.2, 1.5), 0.8)])
def test_blur_kernels(stage, sigma, blurred):
    blur = getattr(draws(), stage).blur
    shares = [0.45, 0.25, 0.12, 0.03, 0.12, 0.03]

    often(blur.kind == NONE, 1 - blurred)
    often(blur.kind == SINC, 0.1 * blurred)
    for kind, share in enumerate(shares):
        often(blur.kind == kind, share * 0.9 * blurred)
    for size in SIZES:
        often(blur.size == size, 1 / 8)
    mixed = blur.kind < SINC
    uniform(blur.sigma_x[mixed], *sigma)
    iso = mixed & (blur.kind % 2 == 0)
    aniso = mixed & (blur.kind % 2 == 1)
    assert (blur.sigma_y[iso] == blur.sigma_x[iso]).all()
    assert not blur.angle[iso].any()
    uniform(blur.sigma_y[aniso], *sigma)
    uniform(blur.angle[aniso], -np.pi, np.pi)


@pytest.mark.parametrize("stage", ["first", "second"])
def test_shapes_and_cutoffs(stage):
    blur = getattr(draws(), stage).blur
    general, plateau = np.isin(blur.kind, (2, 3)), np.isin(blur.kind, (4, 5))

    assert (blur.beta[np.isin(blur.kind, (0, 1))] == 1).all()
    often(blur.beta[general] < 1, 0.5, among=general.sum())
    uniform(blur.beta[general & (blur.beta < 1)], 0.5, 1.0)
    uniform(blur.beta[general & (blur.beta > 1)], 1.0, 4.0)
    often(blur.beta[plateau] == 1, 0.5, among=plateau.sum())
    uniform(blur.beta[plateau & (blur.beta > 1)], 1.0, 2.0)
    sinc = blur.kind == SINC
    uniform(blur.omega[sinc & (blur.size < 13)], np.pi / 3, np.pi)
    uniform(blur.omega[sinc & (blur.size >= 13)], np.pi / 5, np.pi)


@pytest.mark.parametrize(
    ("stage", "ways", "span", "sigma", "poisson"),
    [
        ("first", (0.2, 0.7, 0.1), (0.15, 1.5), (1, 30), (0.05, 3.0)),
        ("second", (0.3, 0.4, 0.3), (0.3, 1.2), (1, 25), (0.05, 2.5)),
    ],
)
def test_resizes_noise_and_jpeg(stage, ways, span, sigma, poisson):
    s = getattr(draws(), stage)

    for happened, share in zip((s.factor > 1, s.factor < 1, s.factor == 1), ways, strict=True):
        often(happened, share)
    uniform(s.factor[s.factor > 1], 1.0, span[1])
    uniform(s.factor[s.factor < 1], span[0], 1.0)
    for mode in range(3):
        often(s.mode == mode, 1 / 3)
    often(s.gaussian, 0.5)
    uniform(s.strength[s.gaussian] * 255, *sigma)
    uniform(s.strength[~s.gaussian], *poisson)
    often(s.gray, 0.4)
    assert set(s.quality) == set(range(30, 96))
    for quality in (30, 62, 95):
        often(s.quality == quality, 1 / 66)


def test_the_end():
    d = draws()

    often(d.last.kind == SINC, 0.8)
    often(d.jpeg_last, 0.5)
    uniform(d.last.omega, np.pi / 3, np.pi)
    for size in SIZES:
        often(d.last.size == size, 1 / 8)
    for mode in range(3):
        often(d.last_mode == mode, 1 / 3)


def test_parameters_do_not_depend_on_each_other_or_on_the_neighboring_crop():
    d = draws()
    columns = [d.first.factor, d.second.factor, d.first.strength, d.first.quality, d.second.quality, d.last.omega]
    columns += [d.first.blur.sigma_x, d.second.blur.sigma_x, d.first.key1, d.first.key2, d.first.quality[::-1]]

    together = np.corrcoef([c[:-1] for c in columns] + [c[1:] for c in columns])

    assert np.abs(together - np.eye(len(together))).max() < 6 / np.sqrt(COUNT)


def test_a_crops_draw_depends_on_seed_and_index_only():
    config, indices = RealESRGANDegradation(), np.array([5, 1000, 2**40], np.uint64)

    together, alone = config.draw(3, indices), config.draw(3, indices[1:2])
    other = config.draw(4, indices)

    assert together.second.factor[1] == alone.second.factor[0]
    assert together.first.key1[1] == alone.first.key1[0]
    assert not np.isin(other.first.key1, together.first.key1).any()
