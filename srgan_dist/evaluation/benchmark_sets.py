"""Standard test sets of HR images, by name from the Hugging Face Hub. Their LR is made with the papers' kernel."""

import logging
import shutil
import tarfile
import tempfile
from pathlib import Path

from srgan_dist.data.packing.pairing import Item
from srgan_dist.imaging.extensions import EXTENSIONS
from srgan_dist.imaging.resize import Kernel
from srgan_dist.utils.files import disk_errors, publish
from srgan_dist.utils.first_download import compare_with_first

TESTSETS = {"set5": "Set5", "set14": "Set14", "bsd100": "BSD100", "urban100": "Urban100"}
"""Names on the command line, and the corresponding `eugenesiow/NAME` data sets on the Hub."""
KERNEL: Kernel = "matlab-clamp"
"""Reproduces every value of the LR files of Set5, Set14 and BSD100 that the papers used."""


def fetch_testset(name: str) -> list[Item]:
    """Return the HR images of a test set, which is downloaded once and then read from the Hub's cache.

    Args:
        name: A key of `TESTSETS`, in upper or lower case.

    Raises:
        ValueError: If the test set is not cached and cannot be downloaded, or its archive is corrupt, has no images, or
            has changed since the first download.
    """
    archive = _download(TESTSETS[name.lower()])
    compare_with_first(f"hf://datasets/eugenesiow/{TESTSETS[name.lower()]}", archive.resolve())
    folder = _extract(archive)
    files = sorted(f for f in folder.rglob("*") if f.suffix.lower() in EXTENSIONS and not f.name.startswith("."))
    if not files:
        raise ValueError(f"{archive}: contains no images")
    return [Item(f.stem, f) for f in files]


def _download(name: str) -> Path:
    from huggingface_hub import hf_hub_download

    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # otherwise it logs every retry
    try:
        return Path(hf_hub_download(f"eugenesiow/{name}", f"data/{name}_HR.tar.gz", repo_type="dataset"))
    except Exception as error:  # the exception types depend on the HTTP library that huggingface_hub uses
        reason = str(error.__cause__ or error).strip().splitlines()[0]
        raise ValueError(
            f"{name} could not be downloaded from the Hub ({reason}); without network access, put its HR images into a "
            "folder and pass that as --data"
        ) from error


def _extract(archive: Path) -> Path:
    """Return the folder with the archive's content, beside the Hub's cache. It only appears once it is complete."""
    from huggingface_hub import constants

    final = Path(constants.HF_HOME) / "srgan_dist" / f"{archive.name.split('.')[0]}-{archive.resolve().name[:12]}"
    if final.is_dir():
        return final
    final.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(dir=final.parent, prefix=".partial-"))
    try:
        with disk_errors(final), tarfile.open(archive) as tar:
            tar.extractall(partial, filter="data")
        if not final.is_dir():  # another process may have finished first
            publish(partial, final)
    except tarfile.TarError as error:
        raise ValueError(f"{archive}: corrupt ({error}); delete it to download it again") from error
    except OSError:
        if not final.is_dir():
            raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return final
