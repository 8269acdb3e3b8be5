"""A model card as the Hugging Face Hub reads it, and the way there."""

import os
from pathlib import Path
from typing import Any

_FACTS = {
    "scale": "upscales by",
    "architecture": "architecture",
    "parameters": "parameters",
    "degradation": "LR made by",
    "label": "phase",
    "data": "data set (manifest's sha256)",
}


def model_card(name: str, file: Path, notes: dict[str, Any], opened_by: str) -> str:
    """README.md of a model repository: what it is, how it does, how to open it.

    Args:
        notes: the exported file's own.
        opened_by: which programs open it, in a sentence.
    """
    from huggingface_hub import ModelCardData

    metrics: dict[str, dict[str, float]] = notes.get("metrics", {})
    head = ModelCardData(
        license=notes["license"], pipeline_tag="image-to-image", tags=["super-resolution", "image-upscaling", "pytorch"]
    )
    facts = [f"| {title} | {_shown(notes[key])} |" for key, title in _FACTS.items() if notes.get(key)]
    rows = [f"| {method} | {m['psnr_y']:.2f} | {m['ssim_y']:.4f} |" for method, m in metrics.items()]
    judged = [
        "",
        f"## Quality ({notes.get('protocol', 'psnr_y')})",
        "",
        "| | PSNR-Y | SSIM-Y |",
        "|---|---|---|",
        *rows,
    ]
    lines = [
        f"# {name}",
        "",
        "A super-resolution network, trained with srgan_dist.",
        "",
        "| | |",
        "|---|---|",
        *facts,
        *(judged if rows else []),
        "",
        "## Use",
        "",
        opened_by,
        "",
        f"```\n{_usage(file)}\n```",
        "",
    ]
    return f"---\n{head.to_yaml()}\n---\n\n" + "\n".join(lines)


def _usage(file: Path) -> str:
    if file.suffix == ".onnx":
        return f'sr = onnxruntime.InferenceSession("{file.name}").run(None, {{"lr": lr}})  # RGB in [0, 1]'
    return f"srgan upscale image.png larger.png --model {file.name}"


def _shown(value: object) -> str:
    return ", ".join(str(v)[:16] for v in value) if isinstance(value, list) else str(value)  # pyright: ignore


def push(repository: str, file: Path, card: Path) -> str:
    """Uploads a model and its card (as README.md) in one commit; returns the repository's address.

    Raises:
        ValueError: not logged in, no such name, or no network.
    """
    from huggingface_hub import CommitOperationAdd, HfApi

    api = HfApi(endpoint=os.environ.get("HF_ENDPOINT"))
    try:
        address = api.create_repo(repository, exist_ok=True)
        files = {file.name: file, "README.md": card}
        operations = [CommitOperationAdd(path_in_repo=name, path_or_fileobj=f) for name, f in files.items()]
        api.create_commit(repository, operations, commit_message=f"Upload {file.name}")
    except Exception as error:  # whatever the Hub's HTTP library of the day raises
        cure = "log in with `hf auth login`, or set HF_TOKEN to a token that may write"
        raise ValueError(f"--push {repository}: {str(error).splitlines()[0]} ({cure})") from error
    return str(address)
