import sys
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from srgan_dist.utils import host_memory
from srgan_dist.utils.host_memory import peak_host_bytes


def test_the_peak_stays_when_memory_is_given_back():
    pytest.importorskip("resource")
    block = bytearray(b"1") * (64 << 20)
    while_used = psutil.Process().memory_info().rss
    del block

    assert peak_host_bytes() >= while_used - (4 << 20)  # Linux counts a few pages late


@pytest.mark.parametrize(("system", "unit"), [("linux", 1024), ("darwin", 1)])
def test_the_peak_is_in_bytes_on_every_system(system: str, unit: int, monkeypatch: pytest.MonkeyPatch):
    usage = SimpleNamespace(RUSAGE_SELF=0, getrusage=lambda _: SimpleNamespace(ru_maxrss=(1 << 50) // unit))
    monkeypatch.setitem(sys.modules, "resource", usage)
    monkeypatch.setattr(host_memory, "sys", SimpleNamespace(platform=system))

    assert peak_host_bytes() == 1 << 50


def process_with(**numbers: int) -> Any:
    return lambda: SimpleNamespace(memory_info=lambda: SimpleNamespace(**numbers))


def test_without_the_posix_module_it_is_that_of_windows_or_the_present_one(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "resource", None)  # importing it fails

    monkeypatch.setattr(psutil, "Process", process_with(rss=5, peak_wset=9))
    on_windows = peak_host_bytes()
    monkeypatch.setattr(psutil, "Process", process_with(rss=5))

    assert (on_windows, peak_host_bytes()) == (9, 5)
