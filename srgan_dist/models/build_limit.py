"""Building a network whose size a file determines, without building more than the file has tensors for."""

from collections.abc import Generator, Iterable
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook

_SPARE_VALUES, _SPARE_PARAMETERS = 1 << 16, 64
"""Parameters that a network may have in addition: some architectures store fewer than they build."""


@contextmanager
def limited_build(weights: Iterable[Tensor], name: str, factor: int = 1) -> Generator[None]:
    """Raise ValueError as soon as a network built in this context has more parameters than the weights of its file.

    A few bytes of a file can ask for a network of any size. Nothing of it is initialized before it is counted.

    Args:
        weights: The tensors of the file.
        name: What the error message calls the file.
        factor: How many times the file's values the network may have.

    Raises:
        ValueError: If the network asks for more values, or more parameters, than the file contains.
    """
    tensors = list(weights)
    most_values = factor * sum(t.numel() for t in tensors) + _SPARE_VALUES
    most_parameters = factor * len(tensors) + _SPARE_PARAMETERS
    values = parameters = 0

    def count(module: nn.Module, parameter_name: str, parameter: Any) -> None:
        del module, parameter_name
        nonlocal values, parameters
        values += parameter.numel() if isinstance(parameter, Tensor) else 0
        parameters += 1
        if values > most_values or parameters > most_parameters:
            raise ValueError(f"{name}: asks for a network with more parameters than the file contains")

    handle = register_module_parameter_registration_hook(count)
    try:
        yield
    finally:
        handle.remove()


def check_storage(weights: dict[str, Tensor], name: str) -> None:
    """Raise ValueError if a tensor has more values than are stored for it, which lets a small file look huge."""
    for key, tensor in weights.items():
        if (
            tensor.layout is not torch.strided
            or tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes()
        ):
            raise ValueError(f"{name}: {key[:80]!r} of shape {tuple(tensor.shape)} is not stored in full")
