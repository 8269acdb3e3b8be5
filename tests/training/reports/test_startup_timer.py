import re
import time

from srgan_dist.training.reports.startup_timer import Startup


def test_the_parts_are_the_whole():
    startup = Startup()
    time.sleep(0.11)
    startup.mark("one")
    time.sleep(0.22)
    startup.mark("two")
    startup.mark("two")

    whole, *parts = (float(n) for n in re.findall(r"[\d.]+(?= s from)|(?<= )[\d.]+(?=,|$)", str(startup)))

    assert str(startup).count("two") == 1
    assert parts[-1] >= 0.2
    assert abs(whole - sum(parts)) < 0.05 * (len(parts) + 1)  # each is rounded
