"""Loading of weights that fit only in part, for example those of another scale or with another number of blocks."""

from collections import Counter
from collections.abc import Mapping

from torch import Tensor, nn

_MOST = 12
"""Number of names after which a list ends with a count."""


def load_matching(network: nn.Module, state: Mapping[str, Tensor], name: str) -> str:
    """Load the tensors that have the name and shape of one in the network; return a report of what was loaded.

    All others keep their initial values.

    Args:
        network: The network to load into.
        state: Its parameters, under current names.
        name: What the report calls the source of `state`, usually a file.

    Raises:
        ValueError: If no tensor fits.
    """
    expected = network.state_dict()
    taken = [k for k, v in expected.items() if k in state and state[k].shape == v.shape]
    if not taken:
        raise ValueError(
            f"{name}: none of its {len(state)} tensors has the name and shape of one in this {type(network).__name__}; "
            "choose another file, or set --generator to match"
        )
    network.load_state_dict({k: state[k] for k in taken}, strict=False)
    lines = [f"{name}: {len(taken)} of {len(expected)} tensors of {type(network).__name__} were loaded"]
    lines += [f"  loaded: {_by_module(taken)}"]
    shaped = [k for k in expected if k in state and state[k].shape != expected[k].shape]
    sizes = [f"{k} {tuple(state[k].shape)} for {tuple(expected[k].shape)}" for k in shaped]
    for title, names in (
        ("not in the file, newly initialized", [k for k in expected if k not in state]),
        ("of another shape, newly initialized", sizes),
        ("not in the network, ignored", [k for k in state if k not in expected]),
    ):
        lines += [f"  {title}: {_first(names)}"] if names else []
    return "\n".join(lines)


def _by_module(names: list[str]) -> str:
    counts = Counter(name.partition(".")[0] for name in names)
    return ", ".join(f"{module} ({count})" for module, count in counts.items())


def _first(names: list[str]) -> str:
    return ", ".join(names[:_MOST]) + (f" and {len(names) - _MOST} more" if len(names) > _MOST else "")
