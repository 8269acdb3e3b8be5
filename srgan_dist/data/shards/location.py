"""Where shards are: a folder of this machine, or a URL whose shards pass through the cache."""

import hashlib
import logging
from pathlib import Path

from srgan_dist.data.shards import remote
from srgan_dist.data.shards.cache import Checks, cache_folder, lock
from srgan_dist.data.shards.manifest import MANIFEST, Manifest, Shard, manifest_bytes, parse_manifest
from srgan_dist.data.shards.verify import CorruptSample
from srgan_dist.utils.files import publish

log = logging.getLogger("srgan_dist")


class ShardLocation:
    """The shards of one folder or URL.

    Raises:
        ValueError: nothing is there, or its manifest is corrupt.
    """

    def __init__(self, location: str, cache: Path | None = None) -> None:
        self.location = location.rstrip("/")
        self._cache = cache_folder(cache)
        self._checks = Checks(self._cache)
        local = location.removeprefix("file://")
        self._folder = None if remote.is_url(local) else Path(local)
        content = manifest_bytes(self._folder) if self._folder else remote.fetch_small(self._url(MANIFEST), self._cache)
        self.hash = hashlib.sha256(content).hexdigest()
        """Of the manifest: what identifies the data."""
        self.manifest: Manifest = parse_manifest(content, self.name(MANIFEST))

    def name(self, file: str) -> str:
        """A file of this place, for messages."""
        return str(self._folder / file) if self._folder else self._url(file)

    def file(self, shard: Shard) -> tuple[Path, list[CorruptSample]]:
        """A shard's file on this machine, fetched if need be, and what is wrong with it.

        Raises:
            ValueError: it cannot be fetched.
        """
        if self._folder:
            file = self._folder / shard.name
            return file, self._checks.faults(file, shard)
        file = self._cached(shard)
        if not file.exists():
            self._fetch(shard, file)
        elif self._checks.faults(file, shard):
            with lock(file.with_suffix(".mend")):
                if self._checks.faults(file, shard):  # and no other process has mended it meanwhile
                    log.warning("%s: corrupt in the cache, fetched again", file)
                    self.drop(shard)
                    self._fetch(shard, file)
        return file, self._checks.faults(file, shard)

    def drop(self, shard: Shard) -> None:
        """Makes room in the cache; a shard that is mapped stays readable until it is let go."""
        if not self._folder:
            self._checks.forget(self._cached(shard), shard)
            self._cached(shard).unlink(missing_ok=True)

    def _fetch(self, shard: Shard, file: Path) -> None:
        log.info("fetching %s (%.0f MB)", self._url(shard.name), shard.bytes / 1e6)
        try:
            remote.fetch(self._url(shard.name), file, shard.sha256)
            self._checks.remember(file, shard)
        except remote.CorruptFileError:  # kept, so that its samples can be told apart
            publish(file.with_name(f".{file.name}.partial"), file)

    def _cached(self, shard: Shard) -> Path:
        return self._cache / "shards" / f"{shard.sha256[:32]}.tar"

    def _url(self, file: str) -> str:
        return f"{self.location}/{file}"
