"""Model cards in the Hugging Face Hub's format, and uploads to the Hub."""

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from huggingface_hub import EvalResult

_METRIC_TYPES = {"psnr_y": "psnr", "psnr_rgb": "psnr", "ssim_y": "ssim"}
"""Our metrics by the Hub's name of their kind."""
_FACTS = {
    "scale": "scale factor",
    "architecture": "architecture",
    "parameters": "parameters",
    "dtype": "weights in",
    "degradation": "LR degradation",
    "label": "phase",
    "data": "data set (SHA-256 of its manifest)",
}


def model_card(name: str, file: Path, notes: dict[str, Any], opened_by: str) -> str:
    """Return the text of a model repository's README.md: description, metrics and usage.

    Args:
        name: Title of the card.
        file: The exported file, whose name appears in the usage example.
        notes: The metadata in the exported file's header.
        opened_by: A sentence that says which programs open the file.
    """
    from huggingface_hub import ModelCardData

    metrics = {k: m for k, m in (notes.get("metrics") or {}).items() if _has_scores(m)}
    results = _results(notes, metrics.get(notes["label"], {}))
    head = ModelCardData(
        license=notes["license"], pipeline_tag="image-to-image", model_name=name if results else None,
        tags=["super-resolution", "image-upscaling", "pytorch"], eval_results=results or None,
    )  # fmt: skip
    facts = [f"| {title} | {_format(notes[key])} |" for key, title in _FACTS.items() if notes.get(key)]
    rows = [
        f"| {_format(name)} | {_number(m, 'psnr_y', 2)} | {_number(m, 'ssim_y', 4)} |" for name, m in metrics.items()
    ]
    quality = [
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
        f"A super-resolution network, {notes['origin']}.",
        "",
        "| | |",
        "|---|---|",
        *facts,
        *(quality if rows else []),
        "",
        "## Use",
        "",
        opened_by,
        "",
        f"```\n{_usage(file)}\n```",
        "",
    ]
    return f"---\n{head.to_yaml()}\n---\n\n" + "\n".join(lines)


def _results(notes: dict[str, Any], scores: Mapping[str, float | None]) -> list["EvalResult"]:
    """Return the scores of the network as the Hub reads them; it shows them beside the card."""
    from huggingface_hub import EvalResult

    data, protocol = notes.get("data_name", "held-out images"), notes.get("protocol", "psnr_y")
    suffix = protocol.removeprefix("psnr_y")
    return [
        EvalResult(
            task_type="image-to-image", task_name=f"x{notes['scale']} super-resolution",
            dataset_type=data, dataset_name=data,
            metric_type=_METRIC_TYPES.get(metric, metric), metric_name=f"{metric}{suffix}",
            metric_value=round(value, 4),
        )
        for metric, value in scores.items()
        if value is not None and math.isfinite(value)
    ]  # fmt: skip


def _number(scores: Mapping[str, float | None], metric: str, digits: int) -> str:
    value = scores.get(metric)
    return "" if value is None else f"{value:.{digits}f}"


def _usage(file: Path) -> str:
    if file.suffix == ".onnx":
        return f'sr = onnxruntime.InferenceSession("{file.name}").run(None, {{"lr": lr}})  # RGB in [0, 1]'
    return f"srgan upscale image.png larger.png --model {file.name}"


def _has_scores(metrics: Any) -> bool:
    """Return whether metrics, which may come from another program's file, are numbers by name."""
    return isinstance(metrics, dict) and all(v is None or type(v) in (int, float) for v in metrics.values())


def _format(value: object) -> str:
    return (
        ", ".join(str(v)[:16] for v in value)
        if isinstance(value, list)
        else " ".join(str(value).split()).replace("|", "\\|")
    )  # pyright: ignore


def push(repository: str, file: Path, card: Path) -> str:
    """Upload a model and its card (as README.md) in one commit, and return the repository's URL.

    Raises:
        ValueError: If the user is not logged in, the repository name is not valid, or the Hub cannot be reached.
    """
    from huggingface_hub import CommitOperationAdd, HfApi

    api = HfApi(endpoint=os.environ.get("HF_ENDPOINT"))
    try:
        url = api.create_repo(repository, exist_ok=True)
        files = {file.name: file, "README.md": card}
        operations = [CommitOperationAdd(path_in_repo=name, path_or_fileobj=f) for name, f in files.items()]
        api.create_commit(repository, operations, commit_message=f"Upload {file.name}")
    except Exception as error:  # the exception types depend on the HTTP library that huggingface_hub uses
        advice = "log in with `hf auth login`, or set HF_TOKEN to a token with write access"
        raise ValueError(f"--push {repository}: {str(error).splitlines()[0]} ({advice})") from error
    return str(url)
