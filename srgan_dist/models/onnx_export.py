"""ONNX files, and what runs them. Only this module imports onnx and onnxruntime."""

import importlib.util
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from srgan_dist.utils.files import atomic_path, output_errors

_OLDEST = (2, 9)
CAN_EXPORT = tuple(int(n) for n in torch.__version__.split(".")[:2]) >= _OLDEST
"""The exporter of torch 2.8 leaves BatchNorm unfolded and rounds away from PyTorch by 0.04."""
TOLERANCE = 1e-4
"""How far onnxruntime's images may be from PyTorch's, pixels in [0, 1]."""
_SIZES = ((24, 20), (33, 47), (17, 50))


def save_onnx(file: Path, network: nn.Module) -> float:
    """Writes the network for any height and width, BatchNorm folded into the convolutions, and runs it.

    Returns:
        The largest difference to PyTorch, pixels in [0, 1], over three sizes.

    Raises:
        ValueError: torch is too old, the extra is not installed, or the file does not compute what PyTorch does.
    """
    if not CAN_EXPORT:
        raise ValueError(
            f"--format onnx needs torch {'.'.join(map(str, _OLDEST))} or newer, this is {torch.__version__}"
        )
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
        warnings.simplefilter("ignore")  # the exporter's advice to its own developers
        torch.onnx.export(
            network, (torch.rand(1, 3, *_SIZES[0]),), file,
            input_names=["lr"], output_names=["sr"], dynamic_shapes=({2: free, 3: free},),
            opset_version=18, external_data=False, verbose=False, dynamo=True,
        )  # fmt: skip
    _name_sizes(file)


def _name_sizes(file: Path) -> None:
    import onnx

    model = onnx.load(file)
    left = {node.op_type for node in model.graph.node} & {"BatchNormalization"}
    if left:
        raise ValueError(f"{file}: {', '.join(left)} could not be folded into the convolutions")
    for value, suffix in ((model.graph.input[0], ""), (model.graph.output[0], "_out")):
        for place, name in ((2, "height"), (3, "width")):
            value.type.tensor_type.shape.dim[place].dim_param = name + suffix
    onnx.save(model, file)


def _difference(file: Path, network: nn.Module) -> float:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])

    def run(lr: Tensor) -> Tensor:
        return torch.from_numpy(session.run(None, {"lr": lr.numpy()})[0])

    return difference(run, network, _SIZES)


@torch.no_grad()
def difference(run: Callable[[Tensor], Tensor], network: nn.Module, sizes: Sequence[tuple[int, int]]) -> float:
    """The largest difference of two networks on noise of some heights and widths."""
    rng = torch.Generator().manual_seed(0)
    images = [torch.rand(1, 3, *size, generator=rng) for size in sizes]
    return max(float((run(lr) - network(lr)).abs().max()) for lr in images)
