import pytest
import torch

from srgan_dist.training.gan_health import RULES, color_drift, gradient_shares, health_warnings


def test_color_drift_is_in_levels_of_255():
    lr = torch.full((2, 3, 4, 4), 0.5)
    sr = torch.full((2, 3, 8, 8), 0.5) + torch.tensor([0.1, 0.0, -0.1]).view(1, 3, 1, 1)

    assert color_drift(sr, lr) == pytest.approx(255 * 0.2 / 3)


def test_shares_are_the_parts_of_the_gradient():
    sr = torch.zeros(1, 3, 4, 4, requires_grad=True) * 1.0

    shares = gradient_shares({"a": 3 * sr.sum(), "b": sr.sum(), "none": torch.tensor(0.0)}, sr)

    assert {n: round(float(s), 4) for n, s in shares.items()} == {"share_a": 0.75, "share_b": 0.25, "share_none": 0.0}


@pytest.mark.parametrize(
    ("means", "names"),
    [
        ({"accuracy": 0.75, "share_adversarial": 0.3, "color_drift": 1.0, "skipped": 0.0}, []),
        ({"accuracy": 0.995}, ["discriminator saturated"]),
        ({"accuracy": 0.2}, ["discriminator at chance"]),
        ({"share_adversarial": 0.0001}, ["adversarial term negligible"]),
        ({"color_drift": 9.0, "skipped": 0.5}, ["color drift", "steps skipped"]),
    ],
)
def test_a_warning_is_given_where_a_number_leaves_its_bounds(means: dict[str, float], names: list[str]):
    assert [v.name for v in health_warnings(means)] == names


def test_every_rule_has_a_name_of_its_own():
    assert len({rule.name for rule in RULES}) == len(RULES)
