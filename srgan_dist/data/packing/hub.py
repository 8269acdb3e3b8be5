"""The Hugging Face Hub: data sets fetched from it, and shards published to it. HF_TOKEN gives access."""

from pathlib import Path

from srgan_dist.data.shards.manifest import MANIFEST, Manifest, Split
from srgan_dist.utils.files import write_bytes

_SCHEME = "hf://datasets/"


def download(repository: str, folders: list[str], root: Path, limit: int | None = None) -> None:
    """Fetches folders of a data set into `root`; of each only the first `limit` files. Continues where it stopped.

    Raises:
        ValueError: no such data set, or no access to it.
    """
    from huggingface_hub import HfApi, snapshot_download  # half a second, which other sources need not wait for
    from huggingface_hub.errors import HfHubHTTPError

    try:
        files = HfApi().list_repo_files(repository, repo_type="dataset")
        wanted = [f for folder in folders for f in sorted(f for f in files if f.startswith(f"{folder}/"))[:limit]]
        missing = [folder for folder in folders if not any(f.startswith(f"{folder}/") for f in files)]
        if missing:
            raise ValueError(f"hf://datasets/{repository}: {', '.join(missing)} is not in it")
        snapshot_download(repository, repo_type="dataset", allow_patterns=wanted, local_dir=root)
    except (HfHubHTTPError, OSError) as error:
        raise ValueError(f"hf://datasets/{repository}: {_said(error)}") from error


def push(folder: Path, manifest: Manifest, to: str, license: str, private: bool) -> str:
    """Uploads a folder of shards, with a card, as a data set; returns its URL. What is there already is not sent again.

    Raises:
        ValueError: `to` is not hf://datasets/USER/NAME, or the Hub refuses.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    name = to.removeprefix(_SCHEME)
    if name == to or len(name.split("/")) != 2:
        raise ValueError(f"--to {to}: give hf://datasets/USER/NAME")
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
        raise ValueError(f"{to}: {_said(error)}; is HF_TOKEN set, with write access?") from error
    return f"{_SCHEME}{name}"


def card(name: str, manifest: Manifest, license: str) -> str:
    """The data set's card: where it comes from, its license, how LR was made, counts, and how to use it."""
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


def _said(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
