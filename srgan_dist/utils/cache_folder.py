"""The cache folder of this machine."""

import os
from pathlib import Path


def cache_folder(chosen: Path | None = None) -> Path:
    """Return `chosen`, else `$SRGAN_CACHE`, else `srgan_dist` in the user's cache folder."""
    if chosen:
        return chosen
    if named := os.environ.get("SRGAN_CACHE"):
        return Path(named)
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "srgan_dist"
    except RuntimeError:
        raise ValueError(
            "this user has no home directory for the cache; set SRGAN_CACHE to a folder that can be written"
        ) from None


def provide_home() -> None:
    """Make the cache folder the home directory if the user has none: MLflow cannot be imported without one.

    Raises:
        ValueError: if there is no home directory and `SRGAN_CACHE` is not set.
    """
    try:
        Path.home()
    except RuntimeError:
        os.environ["HOME"] = str(cache_folder().absolute())
