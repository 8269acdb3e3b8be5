from pathlib import Path

from srgan_dist.training.dry_run import _STEPS, _shortened
from srgan_dist.training.presets import preset


def test_the_step_that_is_measured_is_not_one_that_measures_gradients_too():
    short = _shortened(preset("srgan-x4"), Path("run"))

    measured = (_STEPS, 2 * _STEPS)
    probing = [step for step in range(1, 2 * _STEPS + 1) if step % short.probe_every == 0]
    assert not set(measured) & set(probing)
    assert any(step > _STEPS for step in probing)  # its memory counts
    assert short.profile == 0
