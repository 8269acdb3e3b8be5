"""Export to ONNX. Only this module imports onnx and onnxruntime."""

import importlib.util
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from srgan_dist.utils.files import atomic_path, output_errors

_OLDEST = (2, 9)
"""Oldest version of torch that can export."""
CAN_EXPORT = tuple(int(n) for n in torch.__version__.split(".")[:2]) >= _OLDEST
"""The exporter of torch 2.8 does not fold BatchNorm, and its results differ from PyTorch's by 0.04."""
TOLERANCE = 1e-4
"""Largest allowed difference between onnxruntime's and PyTorch's images, for pixels in [0, 1]."""
_SIZES = ((24, 20), (33, 47), (17, 50))
"""Heights and widths of the LR images that are compared."""


def save_onnx(file: Path, network: nn.Module) -> float:
    """Export a network to ONNX for any height and width, with BatchNorm folded into the convolutions, and check it.

    Args:
        file: The file to write.
        network: Maps `lr` (1, 3, h, w) to `sr` (1, 3, scale*h, scale*w), RGB in [0, 1]. It must be in eval mode.

    Returns:
        The largest difference between onnxruntime's and PyTorch's images over three sizes, for pixels in [0, 1].

    Raises:
        ValueError: If torch is too old, the extra is not installed, or the difference is above `TOLERANCE`.
    """
    if not CAN_EXPORT:
        raise ValueError(f"--format onnx needs torch {'.'.join(map(str, _OLDEST))} or newer, not {torch.__version__}")
    missing = [m for m in ("onnx", "onnxruntime", "onnxscript") if importlib.util.find_spec(m) is None]
    if missing:
        raise ValueError(f"--format onnx needs {', '.join(missing)}: pip install 'srgan-dist[onnx]'")
    with output_errors(file), atomic_path(file) as partial:
        _write(partial, network)
        worst = _difference(partial, network)
        if worst > TOLERANCE:
            raise ValueError(f"{file}: onnxruntime differs from PyTorch by {worst:.1e}, more than {TOLERANCE:.0e}")
    return worst


def _write(file: Path, network: nn.Module) -> None:
    free = torch.export.Dim.DYNAMIC
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # the exporter's warnings are meant for its developers
        torch.onnx.export(
            network, (torch.rand(1, 3, *_SIZES[0]),), file,
            input_names=["lr"], output_names=["sr"], dynamic_shapes=({2: free, 3: free},),
            opset_version=18, external_data=False, verbose=False, dynamo=True,
        )  # fmt: skip
    _name_sizes(file)


def _name_sizes(file: Path) -> None:
    import onnx

    model = onnx.load(file)
    unfolded = {node.op_type for node in model.graph.node} & {"BatchNormalization"}
    if unfolded:
        raise ValueError(f"{file}: {', '.join(unfolded)} could not be folded into the convolutions")
    for value, suffix in ((model.graph.input[0], ""), (model.graph.output[0], "_out")):
        for axis, name in ((2, "height"), (3, "width")):
            value.type.tensor_type.shape.dim[axis].dim_param = name + suffix
    for part in (model, model.graph, *model.graph.node, *model.graph.value_info, *model.graph.initializer):
        del part.metadata_props[:]  # the exporter records the stack with the paths of this machine
        part.doc_string = ""
    onnx.save(model, file)


def _difference(file: Path, network: nn.Module) -> float:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])

    def run(lr: Tensor) -> Tensor:
        return torch.from_numpy(session.run(None, {"lr": lr.numpy()})[0])

    return difference(run, network, _SIZES)


@torch.no_grad()
def difference(run: Callable[[Tensor], Tensor], network: nn.Module, sizes: Sequence[tuple[int, int]]) -> float:
    """Return the largest difference between two networks' results for noise images of given heights and widths."""
    rng = torch.Generator().manual_seed(0)
    images = [torch.rand(1, 3, *size, generator=rng) for size in sizes]
    return max(float((run(lr) - network(lr)).abs().max()) for lr in images)
