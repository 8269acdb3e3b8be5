"""The cache folder of this machine."""

import os
from pathlib import Path


def cache_folder(chosen: Path | None = None) -> Path:
    """Return `chosen`, else `$SRGAN_CACHE`, else `srgan_dist` in the user's cache folder."""
    if chosen:
        return chosen
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(os.environ.get("SRGAN_CACHE") or home / "srgan_dist")
