from types import SimpleNamespace
from typing import Any

import pytest

from srgan_dist.training.gan_health import HealthWarning
from srgan_dist.training.reporting import Reporter


@pytest.mark.parametrize(("first", "times"), [(True, 1), (False, 0)])
def test_what_all_processes_see_is_warned_of_once(first: bool, times: int, caplog: pytest.LogCaptureFixture):
    reporter: Any = SimpleNamespace(_accelerator=SimpleNamespace(is_main_process=first))

    active = set[str]()
    for step in (7, 8):
        Reporter._warn_of_new(reporter, step, [HealthWarning("at chance", "discriminator at chance")], active)

    assert caplog.text.count("step 7  discriminator at chance") == times


def test_progress_is_told_in_passes_over_the_images_too():
    reporter: Any = SimpleNamespace(_feed=SimpleNamespace(images=400))
    state: Any = SimpleNamespace(step=50, crops_per_step=16)

    assert Reporter._epoch(reporter, state) == {"epoch": 2.0}
    reporter._feed.images = None
    assert Reporter._epoch(reporter, state) == {}
