import os
from pathlib import Path

import pytest

from srgan_dist.utils.cache_folder import cache_folder, provide_home


def test_the_cache_folder_is_the_home_of_a_user_without_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    pwd = pytest.importorskip("pwd")
    for name in ("HOME", "XDG_CACHE_HOME", "SRGAN_CACHE"):
        monkeypatch.setenv(name, "")  # restored after the test
        monkeypatch.delenv(name)
    monkeypatch.setattr(pwd, "getpwuid", lambda number: {}[number])

    for needs_home in (cache_folder, provide_home):
        with pytest.raises(ValueError, match="no home directory for the cache; set SRGAN_CACHE"):
            needs_home()

    monkeypatch.setenv("SRGAN_CACHE", str(tmp_path))
    provide_home()
    assert (cache_folder(), Path.home(), os.environ["HOME"]) == (tmp_path, tmp_path, str(tmp_path))
