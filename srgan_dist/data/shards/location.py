"""The location of shards: a local folder, or a URL whose shards are downloaded to the cache."""

import hashlib
import logging
from pathlib import Path

from srgan_dist.data.shards import remote
from srgan_dist.data.shards.cache import Checks
from srgan_dist.data.shards.manifest import MANIFEST, Manifest, Shard
from srgan_dist.data.shards.manifest_parser import MOST_BYTES, manifest_bytes, parse_manifest
from srgan_dist.data.shards.verify import CorruptSample, is_missing
from srgan_dist.utils.addresses import join, public, scheme_of, with_secrets
from srgan_dist.utils.cache_folder import cache_folder
from srgan_dist.utils.file_lock import lock
from srgan_dist.utils.files import publish
from srgan_dist.utils.untrusted import path_below

log = logging.getLogger("srgan_dist")


class ShardLocation:
    """The shards of one folder or URL.

    Raises:
        ValueError: there is no manifest, it is corrupt, or the server cannot be reached.
    """

    def __init__(self, location: str, cache: Path | None = None) -> None:
        self.location = public(location).rstrip("/")
        """The folder or URL, without secrets: for messages and records."""
        self._address = with_secrets(location.rstrip("/"))
        self._cache = cache_folder(cache)
        self._checks = Checks(self._cache)
        self._fetched: set[str] = set()  # SHA-256 of the shards that this object downloaded
        remote.check_scheme(location, "data.shards")
        self._folder = None if scheme_of(location) != "file" else Path(location.removeprefix("file://"))
        content = (
            manifest_bytes(self._folder)
            if self._folder
            else remote.fetch_small(self._url(MANIFEST), self._cache, MOST_BYTES)
        )
        self.hash = hashlib.sha256(content).hexdigest()
        """SHA-256 of the manifest; identifies the data."""
        self.manifest: Manifest = parse_manifest(content, self.name(MANIFEST))

    def name(self, file: str) -> str:
        """Return the path or URL of a file of this location, for messages."""
        return str(self._folder / file) if self._folder else public(self._url(file))

    def file(self, shard: Shard, read: bool = False) -> tuple[Path, list[CorruptSample]]:
        """Return a shard's local file, downloaded if necessary, and its faults.

        A corrupt file in the cache is downloaded once more. Faults that remain are those of the source. Another run may
        remove the file from the cache at any time: map it at once, and see `is_gone`.

        Args:
            read: read every byte, even if the result of an earlier reading is recorded.

        Raises:
            ValueError: the shard cannot be downloaded.
        """
        faults = self._checks.faults_now if read else self._checks.faults
        if self._folder:
            file = path_below(self._folder, shard.name, follow_links=True)
            return file, faults(file, shard)
        file = self._cached(shard)
        if not file.exists():
            self._download(shard, file)
        elif (found := faults(file, shard)) and not is_missing(found):
            with lock(file.with_suffix(".mend")):
                if self._checks.faults(file, shard):  # another process may have replaced it meanwhile
                    log.warning("%s: corrupt in the cache, downloading it again", file)
                    self._remove(shard)
                    self._download(shard, file)
        return file, self._checks.faults(file, shard)

    def is_gone(self, shard: Shard, faults: list[CorruptSample], size: int | None) -> bool:
        """Return whether a file was removed from the cache, or replaced, after `file` returned it: call `file` again.

        Args:
            shard: the shard.
            faults: what `file` returned.
            size: bytes of the file when it was opened; None if there was none.
        """
        replaced = not faults and size != shard.bytes
        return not self._folder and (size is None or is_missing(faults) or replaced)

    def drop(self, shard: Shard) -> None:
        """Remove a shard from the cache if this object downloaded it; other runs may use the others.

        Existing memory maps of it stay readable.
        """
        if shard.sha256 in self._fetched:
            self._fetched.discard(shard.sha256)
            self._remove(shard)

    def _remove(self, shard: Shard) -> None:
        self._checks.forget(self._cached(shard), shard)
        self._cached(shard).unlink(missing_ok=True)

    def _download(self, shard: Shard, file: Path) -> None:
        """Download a shard to the cache, also if it is corrupt at the source."""
        log.info("downloading %s (%.0f MB)", self.name(shard.name), shard.bytes / 1e6)
        try:
            if not remote.fetch(self._url(shard.name), file, shard.sha256, most_bytes=shard.bytes):
                return
            self._checks.remember(file, shard)
        except remote.CorruptFileError:  # keep it: its intact samples can still be used
            publish(file.with_name(f".{file.name}.partial"), file)
        self._fetched.add(shard.sha256)

    def _cached(self, shard: Shard) -> Path:
        return path_below(self._cache / "shards", f"{shard.sha256[:32]}.tar", follow_links=True)

    def _url(self, file: str) -> str:
        return join(self._address, file)
