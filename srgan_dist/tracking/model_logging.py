"""Logs a trained generator as an MLflow model, and registers it."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from srgan_dist.tracking.model_code import copy_code, requirements
from srgan_dist.tracking.server import upload_timeout
from srgan_dist.tracking.state import TrackingStateFile
from srgan_dist.utils.files import sha256_of
from srgan_dist.utils.untrusted import path_below

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel

BEST = "best-psnr"
"""Alias of the registered version with the highest PSNR-Y."""
LOADER = "srgan_dist.inference.pyfunc"
"""Module that MLflow imports to load the model."""
_EXAMPLE = (1, 16, 24, 3)
"""Shape of the input example, NHWC."""


def log_model(client: "MlflowClient", state_file: TrackingStateFile, folder: Path, content: dict[str, Any]) -> None:
    """Log a model file once, link it to its run, and register it if requested.

    Each completed stage is recorded in the state file, so that a retry continues where the last attempt failed.

    Args:
        content: `file` relative to the run directory, `label`, `scale`, `step`, `time` in milliseconds, `scores` (may
            be empty), and `register`, the name of a registered model (empty to not register).
    """
    file, label = path_below(folder, content["file"]), content["label"]
    digest = sha256_of(file)
    known = state_file.now.models.get(label, {})
    if known.get("sha256") != digest:
        known = {"sha256": digest, "model_id": _create(client, state_file.now.run_id, content, digest).model_id}
        state_file.update(models=state_file.now.models | {label: known})
    if "ready" not in known:
        _upload(client, known["model_id"], file)
        _link(client, state_file.now.run_id, known["model_id"], content)
        known = known | {"ready": "yes"}
        state_file.update(models=state_file.now.models | {label: known})
    if content["register"] and "version" not in known:
        known = known | {"version": _register(client, state_file.now.run_id, known["model_id"], content)}
        state_file.update(models=state_file.now.models | {label: known})


def save_model(file: Path, out: Path) -> None:
    """Write a generator as an MLflow pyfunc model that maps uint8 RGB (B, h, w, 3) to uint8 RGB (B, s*h, s*w, 3)."""
    from mlflow.models import ModelSignature
    from mlflow.pyfunc import save_model as save  # pyright: ignore[reportUnknownVariableType]
    from mlflow.types import Schema, TensorSpec

    def images() -> Schema:
        return Schema([TensorSpec(np.dtype(np.uint8), (-1, -1, -1, 3))])

    rows = np.arange(_EXAMPLE[1])[:, None, None] * 10 + np.arange(_EXAMPLE[2])[None, :, None] * np.array([1, 3, 4])
    with tempfile.TemporaryDirectory() as scratch:
        save(
            str(out),
            loader_module=LOADER,
            data_path=str(file),
            code_paths=[str(copy_code(LOADER, Path(scratch)))],
            signature=ModelSignature(images(), images()),
            input_example=rows[None].astype(np.uint8),
            pip_requirements=requirements(),  # otherwise MLflow would run the model to infer them
        )


def _create(client: "MlflowClient", run: str, content: dict[str, Any], digest: str) -> "LoggedModel":
    tags = {"label": content["label"], "sha256": digest} | {k: str(v) for k, v in content["scores"].items()}
    return client.create_logged_model(
        client.get_run(run).info.experiment_id,
        _name(content["label"]),
        source_run_id=run,
        tags=tags,
        params={"scale": str(content["scale"])},
        model_type="super-resolution",
    )


def _name(label: str) -> str:
    return "".join(c if c.isalnum() or c in "-_ " else "_" for c in label)


def _upload(client: "MlflowClient", model: str, file: Path) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch, "model")
        save_model(file, out)
        for part in sorted(f for f in out.rglob("*") if f.is_file()):
            subfolder = part.parent.relative_to(out).as_posix()
            with upload_timeout(part):
                client.log_model_artifact(model, str(part), "" if subfolder == "." else subfolder)
    client.finalize_logged_model(model, "READY")


def _link(client: "MlflowClient", run: str, model: str, content: dict[str, Any]) -> None:
    from mlflow.entities import LoggedModelOutput

    client.log_outputs(run, [LoggedModelOutput(model, content["step"])])


def _register(client: "MlflowClient", run: str, model: str, content: dict[str, Any]) -> str:
    """Register a version and return its number; move `best-psnr` to it if its PSNR-Y is the highest so far."""
    from mlflow.exceptions import MlflowException

    name, source = content["register"], f"models:/{model}"
    try:
        client.create_registered_model(name, description="Super-resolution: uint8 RGB (B, h, w, 3), any size")
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    versions = client.search_model_versions(f"name='{name}'")
    registered = next((v for v in versions if v.source == source), None)
    tags = {"label": content["label"]} | {k: str(v) for k, v in content["scores"].items()}
    registered = registered or client.create_model_version(name, source, run_id=run, tags=tags, model_id=model)
    best_version = client.get_registered_model(name).aliases.get(BEST)
    best = next((v for v in versions if str(v.version) == str(best_version)), None)
    psnr_y = content["scores"].get("psnr_y")
    if psnr_y is not None and (best is None or psnr_y > float(best.tags.get("psnr_y", "-inf"))):
        client.set_registered_model_alias(name, BEST, str(registered.version))
    client.set_registered_model_alias(name, _name(content["label"]).lower().replace(" ", "-"), str(registered.version))
    return str(registered.version)
