"""Export to ONNX. Only this module imports onnx and onnxruntime."""

import copy
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
HALF_TOLERANCE = 5e-2
"""The same for float16, whose rounding errors grow with the depth of the network."""
_SIZES = ((24, 20), (33, 47), (17, 50))
"""Heights and widths of the LR images that are compared."""


def save_onnx(file: Path, network: nn.Module, half: bool = False) -> float:
    """Export a network to ONNX for any height and width, with BatchNorm folded into the convolutions, and check it.

    With `half`, the network inside the file is in float16; its input and output are float32 in any case.

    Args:
        file: The file to write.
        network: Maps `lr` (1, 3, h, w) to `sr` (1, 3, scale*h, scale*w), RGB in [0, 1]. It must be in eval mode.
        half: Store the weights, and compute, in float16.

    Returns:
        The largest difference between onnxruntime's and PyTorch's images over three sizes, for pixels in [0, 1].

    Raises:
        ValueError: If torch is too old, the extra is not installed, or the difference is above `TOLERANCE`, or above
            `HALF_TOLERANCE` with `half`.
    """
    if not CAN_EXPORT:
        raise ValueError(f"--format onnx needs torch {'.'.join(map(str, _OLDEST))} or newer, not {torch.__version__}")
    missing = [m for m in ("onnx", "onnxruntime", "onnxscript") if importlib.util.find_spec(m) is None]
    if missing:
        raise ValueError(f"--format onnx needs {', '.join(missing)}: pip install 'srgan-dist[onnx]'")
    with output_errors(file), atomic_path(file) as partial:
        unfolded = _write(partial, _Half(network) if half else network)
        if unfolded:
            raise ValueError(f"{file}: {', '.join(unfolded)} could not be folded into the convolutions")
        worst, most = _difference(partial, network), HALF_TOLERANCE if half else TOLERANCE
        if not worst <= most:  # NaN is not
            raise ValueError(f"{file}: onnxruntime differs from PyTorch by {worst:.1e}, more than {most:.0e}")
    return worst


class _Half(nn.Module):
    """A copy of a network in float16, with float32 images."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = copy.deepcopy(network).half()

    def forward(self, lr: Tensor) -> Tensor:
        return self.network(lr.half()).float()


def _write(file: Path, network: nn.Module) -> set[str]:
    """Write the file, and return the operations that should not be in it."""
    free = torch.export.Dim.DYNAMIC
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # the exporter's warnings are meant for its developers
        torch.onnx.export(
            network, (torch.rand(1, 3, *_SIZES[0]),), file,
            input_names=["lr"], output_names=["sr"], dynamic_shapes=({2: free, 3: free},),
            opset_version=18, external_data=False, verbose=False, dynamo=True,
        )  # fmt: skip
    return _name_sizes(file)


def _name_sizes(file: Path) -> set[str]:
    import onnx

    model = onnx.load(file)
    for value, suffix in ((model.graph.input[0], ""), (model.graph.output[0], "_out")):
        for axis, name in ((2, "height"), (3, "width")):
            value.type.tensor_type.shape.dim[axis].dim_param = name + suffix
    for part in (model, model.graph, *model.graph.node, *model.graph.value_info, *model.graph.initializer):
        del part.metadata_props[:]  # the exporter records the stack with the paths of this machine
        part.doc_string = ""
    onnx.save(model, file)
    return {node.op_type for node in model.graph.node} & {"BatchNormalization"}


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
