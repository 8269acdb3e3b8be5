"""The Hugging Face Hub: download of data sets and upload of shards. HF_TOKEN gives access."""

from pathlib import Path

from srgan_dist.data.shards.manifest import MANIFEST, Manifest, Split
from srgan_dist.data.shards.remote import hub_refusal, status_of
from srgan_dist.utils.addresses import redacted
from srgan_dist.utils.files import write_bytes
from srgan_dist.utils.first_download import first_of, remember_first

_SCHEME = "hf://datasets/"


def download(repository: str, folders: list[str], root: Path, limit: int | None = None) -> None:
    """Download folders of a data set into `root`; continue an interrupted download.

    The first download determines the revision; later ones, of other folders, use the same.

    Args:
        repository: USER/NAME of the data set.
        limit: number of files of each folder, from the first on; None for all.

    Raises:
        ValueError: the data set or a folder does not exist, or access is denied.
    """
    from huggingface_hub import HfApi, snapshot_download  # slow to load; other sources do not need it
    from huggingface_hub.errors import HfHubHTTPError

    try:
        api, origin = HfApi(), f"hf://datasets/{repository}"
        revision = first_of(origin) or str(api.dataset_info(repository).sha)
        files = api.list_repo_files(repository, repo_type="dataset", revision=revision)
        wanted = [f for folder in folders for f in sorted(f for f in files if f.startswith(f"{folder}/"))[:limit]]
        missing = [folder for folder in folders if not any(f.startswith(f"{folder}/") for f in files)]
        if missing:
            raise ValueError(f"hf://datasets/{repository}: it has no folder {', '.join(missing)}")
        snapshot_download(repository, repo_type="dataset", revision=revision, allow_patterns=wanted, local_dir=root)
        remember_first(origin, revision)
    except (HfHubHTTPError, OSError) as error:
        status = status_of(error)
        reason = hub_refusal(status, error) if status in (401, 403, 404) else _summary(error)
        raise ValueError(f"hf://datasets/{repository}: {reason}") from error


def push(folder: Path, manifest: Manifest, to: str, license: str, private: bool) -> str:
    """Upload a folder of shards as a data set, with a card; files that are already there are not sent again.

    Args:
        to: hf://datasets/USER/NAME.
        license: license of the images, by the Hub's short names.
        private: make the data set visible only to its owner, if it is new.

    Returns:
        The URL of the data set.

    Raises:
        ValueError: `to` is not of that form, or the upload fails.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    name = to.removeprefix(_SCHEME)
    if name == to or len(name.split("/")) != 2:
        raise ValueError(f"--to {to} must be hf://datasets/USER/NAME")
    write_bytes(card(name, manifest, license).encode(), folder / "README.md")
    wanted = [MANIFEST, "README.md", *(s.name for s in manifest.shards)]
    try:
        api = HfApi()
        api.create_repo(name, repo_type="dataset", private=private, exist_ok=True)
        api.upload_folder(
            repo_id=name,
            repo_type="dataset",
            folder_path=folder,
            allow_patterns=wanted,
            commit_message=f"Shards at x{manifest.scale}",
        )
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        raise ValueError(f"{to}: {_summary(error)}; is HF_TOKEN set, with write access?") from error
    return f"{_SCHEME}{name}"


def card(name: str, manifest: Manifest, license: str) -> str:
    """Return the data set's card: source, license, degradation, counts and usage."""
    splits: list[Split] = [s for s in ("train", "valid") if manifest.samples(s)]
    data_files = "\n".join(f"  - split: {s}\n    path: {s}-*.tar" for s in splits)
    rows = "\n".join(
        f"| {s} | {manifest.samples(s)} | {sum(x.split == s for x in manifest.shards)} "
        f"| {sum(x.bytes for x in manifest.shards if x.split == s) / 1e6:.0f} |"
        for s in splits
    )
    lr = "as the source gave it" if manifest.degradation == "given" else f"bicubic, `{manifest.degradation}`"
    return f"""---
license: {license}
task_categories:
- image-to-image
tags:
- super-resolution
- webdataset
configs:
- config_name: default
  data_files:
{data_files}
---
# {name.split("/")[1]}

Pairs for x{manifest.scale} super-resolution, as WebDataset shards with a manifest.

| | |
|:--|:--|
| source | {manifest.source} |
| license | {license} |
| LR | {lr} |
| encoding | {manifest.encoding} |
| made by | {manifest.software} |

| split | pairs | shards | MB |
|:--|--:|--:|--:|
{rows}

Train on it:

    accelerate launch train.py srgan-x{manifest.scale} --data.shards {_SCHEME}{name}

A sample is `KEY.hr.*`, `KEY.lr.*` and `KEY.json`; any WebDataset reader opens them.
"""


def _summary(error: Exception) -> str:
    """Return the error's message on one line, at most 300 characters."""
    return redacted(" ".join(str(error).split()))[:300] or type(error).__name__
