"""What the source of a generator resolves to: a file, a checkpoint directory, or a network with a name."""

import logging
from difflib import get_close_matches
from pathlib import Path

from srgan_dist.models.network_names import PUBLISHED, SHIPPED
from srgan_dist.runs import checkpoint
from srgan_dist.runs.opening import is_run, open_run
from srgan_dist.utils.cache_folder import cache_folder
from srgan_dist.utils.download import DownloadError, download
from srgan_dist.utils.files import sha256_of
from srgan_dist.utils.usage import UsageError

log = logging.getLogger("srgan_dist")

_SHIPPED = Path(__file__).parent / "shipped"


def find_model(source: Path, at: str | None = None) -> Path:
    """Return the model file or checkpoint directory that a source resolves to; see `files.load_generator`.

    A file or directory of the user comes before a network of the same name.

    Raises:
        ValueError: If there is no such file, directory, checkpoint or name, or a published network cannot be
            downloaded.
    """
    source = checkpoint.resolve(source)
    if at is not None and not (source.is_dir() and is_run(source)):
        raise UsageError(f"--at {at} selects a checkpoint of a run directory, but {source} is not a run directory")
    if source.is_file() or (source / checkpoint.COMPLETE).is_file():
        return source.resolve() if source.is_dir() else source
    if not source.is_dir():
        return _named(source)
    if not is_run(source):
        raise ValueError(f"{source}: not a run directory or checkpoint, or nothing was saved in it yet")
    chosen = open_run(source, at)
    log.info("%s opens as %s", source, chosen.about)
    return chosen.path.resolve() if chosen.path.is_dir() else chosen.path


def _named(source: Path) -> Path:
    """Return the file of a network by its name, in upper or lower case, downloading it if necessary.

    Raises:
        ValueError: If there is no such name, or the network cannot be downloaded.
    """
    names = {name.lower(): name for name in (*SHIPPED, *PUBLISHED)}
    name = names.get(str(source).lower())
    if name in SHIPPED:
        return _SHIPPED / f"{name}.safetensors"
    if name in PUBLISHED:
        return _published(name)
    missing = f"{source}: there is no such model file or run directory"
    stem = source.stem if source.suffix in (".pth", ".pt", ".safetensors") else source.name
    if close := get_close_matches(stem.lower(), names, n=1, cutoff=0.5):
        raise ValueError(f"{missing}; did you mean the network {names[close[0]]}, which is opened by its name alone?")
    hint = (
        "" if len(source.parts) > 1 or source.suffix else f", nor a network of that name: {', '.join(names.values())}"
    )
    raise ValueError(missing + hint)


def _published(name: str) -> Path:
    """Return the file of a published network in the cache folder, downloaded if necessary, checked in any case."""
    network = PUBLISHED[name]
    file = cache_folder() / "networks" / network.url.rpartition("/")[2]
    if not file.exists():
        log.info("%s: downloading %.1f MB from %s, license %s", name, network.size / 1e6, network.url, network.license)
        try:
            download(network.url, file, network.sha256, network.size)
        except DownloadError as error:
            raise ValueError(
                f"{name} could not be downloaded ({error}); without network access, get {network.url} on another "
                f"machine and put it at {file}"
            ) from error
    if sha256_of(file) != network.sha256:
        raise ValueError(f"{file}: not the published {name}, its sha256 differs; delete it to download it again")
    return file
