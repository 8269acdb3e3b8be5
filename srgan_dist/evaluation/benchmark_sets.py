"""The field's test sets, by name from the Hub: HR images, from which LR is made as the papers' was."""

import logging
import shutil
import tarfile
import tempfile
from pathlib import Path

from srgan_dist.data.packing.sources import Item
from srgan_dist.imaging.extensions import EXTENSIONS
from srgan_dist.imaging.resize import Kernel
from srgan_dist.utils.files import publish

TESTSETS = {"set5": "Set5", "set14": "Set14", "bsd100": "BSD100", "urban100": "Urban100"}
"""Names on the command line, and in the Hub's `eugenesiow/NAME` data sets."""
KERNEL: Kernel = "matlab-clamp"
"""Made the LR files of Set5, Set14 and BSD100 that the papers used, in every value."""


def fetch_testset(name: str) -> list[Item]:
    """The HR images of a test set, by name; downloaded once, then from the Hub's cache.

    Raises:
        ValueError: it is not in the cache and cannot be downloaded.
    """
    archive = _download(TESTSETS[name.lower()])
    folder = _unpacked(archive)
    files = sorted(f for f in folder.rglob("*") if f.suffix.lower() in EXTENSIONS and not f.name.startswith("."))
    if not files:
        raise ValueError(f"{archive}: no images in it")
    return [Item(f.stem, f) for f in files]


def _download(name: str) -> Path:
    from huggingface_hub import hf_hub_download

    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # a line for each retry otherwise
    try:
        return Path(hf_hub_download(f"eugenesiow/{name}", f"data/{name}_HR.tar.gz", repo_type="dataset"))
    except Exception as error:  # the Hub's own errors, or those of the HTTP library below it
        reason = str(error.__cause__ or error).strip().splitlines()[0]
        raise ValueError(
            f"{name} could not be fetched from the Hub ({reason}); without network, put its HR images into a folder "
            "and give that as --data"
        ) from error


def _unpacked(archive: Path) -> Path:
    """The folder with the archive's content, beside the Hub's cache; whole or not there."""
    from huggingface_hub import constants

    final = Path(constants.HF_HOME) / "srgan_dist" / f"{archive.name.split('.')[0]}-{archive.resolve().name[:12]}"
    if final.is_dir():
        return final
    final.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(dir=final.parent, prefix=".partial-"))
    try:
        with tarfile.open(archive) as tar:
            tar.extractall(partial, filter="data")
        if not final.is_dir():  # another process may have been quicker
            publish(partial, final)
    except tarfile.TarError as error:
        raise ValueError(f"{archive}: corrupt ({error}); delete it and it is downloaded again") from error
    except OSError:
        if not final.is_dir():
            raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return final
