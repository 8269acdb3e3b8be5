"""Parameter names in published files: older naming schemes, and which network a state dict belongs to."""

import re
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, NamedTuple

from torch import Tensor, nn

from srgan_dist.models.compact import CompactConfig
from srgan_dist.models.light_edsr import LightEDSRConfig
from srgan_dist.models.rrdbnet import RRDBNetConfig
from srgan_dist.models.srresnet import SRResNetConfig
from srgan_dist.utils.unions import tag

State = Mapping[str, Tensor]

_WRAPPERS = (
    "params_ema", "params-ema", "params", "generator_ema", "g_ema", "net_g_ema", "netG_ema", "model_ema", "ema_model",
    "state_dict_ema", "ema", "generator", "net_g", "netG", "gen", "G", "model_G", "model_state_dict", "state_dict",
    "model", "net", "network", "weights",
)  # fmt: skip
_PREFIXES = ("module.", "_orig_mod.", "netG.", "generator.")
_GENERATORS = (
    "generator_ema.", "ema_generator.", "g_ema.", "net_g_ema.", "netG_ema.", "ema_model.", "ema.", "generator.",
    "net_g.", "netG.", "gen.", "model_G.",
)  # fmt: skip
"""Prefixes of the generator's parameters in the state of several networks: averaged ones first."""
_COMPLETE = ("module.", "_orig_mod.", "model.", "network.", "net.")
"""Prefixes that programs give to most parameters, of one network and perhaps some of a loss."""
# From the names in ESRGAN's first public code (2018) to those in Real-ESRGAN's.
_FIRST_PUBLIC = (
    (r"^RRDB_trunk\.(\d+)\.RDB(\d)\.", r"body.\1.rdb\2."),
    (r"^trunk_conv\.", "conv_body."),
    (r"^upconv(\d)\.", r"conv_up\1."),
    (r"^HRconv\.", "conv_hr."),
)


class Found(NamedTuple):
    """The network that a state dict belongs to."""

    config: Any
    """A `models.GeneratorConfig`."""
    scale: int
    name: str
    """Architecture, scale and size, for messages."""

    @property
    def flags(self) -> str:
        """The flags of a training run with this network."""
        default = type(self.config)()
        values = {f.name: getattr(self.config, f.name) for f in fields(self.config)}
        given = {name: value for name, value in values.items() if value != getattr(default, name)}
        return " ".join(
            [f"--scale {self.scale} --generator.type {tag(type(self.config))}"]
            + [f"--generator.{name.replace('_', '-')} {value}" for name, value in given.items()]
        )


def unwrapped(content: Mapping[Any, Any]) -> dict[str, Tensor]:
    """Return the parameters in a file's content, without wrapper dicts (`params_ema`) and prefixes (`module.`)."""
    for key in _WRAPPERS:
        if isinstance(content.get(key), Mapping) and (inner := unwrapped(content[key])):
            return inner
    state = {k: v for k, v in content.items() if isinstance(k, str) and isinstance(v, Tensor)}
    for prefix in _PREFIXES:
        if state and all(k.startswith(prefix) for k in state):
            state = {k.removeprefix(prefix): v for k, v in state.items()}
    return state


def of_generator(state: State) -> dict[str, Tensor]:
    """Return the generator's parameters in the state of several networks, such as a training checkpoint of mmagic.

    If there are parameters of an exponential moving average, they are preferred. The state of a single network is
    returned unchanged.
    """
    for prefix in (*_GENERATORS, *_COMPLETE):
        inner = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
        averaged = {k.removeprefix("module."): v for k, v in inner.items() if k.startswith("module.")}
        found = averaged or inner  # without the average's number of updates
        is_numbered = all(k[:1].isdigit() for k in found)  # layers of a sequence of that name
        if len(found) > 1 and not is_numbered and (prefix in _GENERATORS or 2 * len(found) > len(state)):
            return found
    return dict(state)


def renamed(state: State) -> dict[str, Tensor]:
    """Return RRDBNet's parameters under their current names, from any of the three published layouts.

    Other networks' parameters are returned unchanged.
    """
    if "model.0.weight" in state and any(k.startswith("model.1.sub.") for k in state):
        return {_from_flat(k, state): v for k, v in state.items()}
    return {_from_first_public(k): v for k, v in state.items()}


def _from_first_public(key: str) -> str:
    for pattern, name in _FIRST_PUBLIC:
        key = re.sub(pattern, name, key)
    return key


def _from_flat(key: str, state: State) -> str:
    """Rename a key of the layout before the first public code: a flat `model.N`, numbered in order of execution."""
    blocks = max(int(m[1]) for k in state if (m := re.match(r"model\.1\.sub\.(\d+)\.", k)))
    last = max(int(m[1]) for k in state if (m := re.match(r"model\.(\d+)\.", k)))
    key = re.sub(rf"^model\.1\.sub\.{blocks}\.", "conv_body.", key)
    key = re.sub(r"^model\.1\.sub\.(\d+)\.RDB(\d)\.conv(\d)\.0\.", r"body.\1.rdb\2.conv\3.", key)
    names = {0: "conv_first", last - 2: "conv_hr", last: "conv_last"}
    names |= {3 * n: f"conv_up{n}" for n in range(1, (last - 4) // 3 + 1)}
    return re.sub(r"^model\.(\d+)\.", lambda m: f"{names.get(int(m[1]), m[0][:-1])}.", key)


def identify(state: State) -> Found | None:
    """Return the network that a state dict with current names belongs to, or None if it is not one of this package's.

    Architecture, size and scale are inferred from the names and shapes of the parameters.
    """
    for match in (_match_rrdbnet, _match_compact, _match_srresnet, _match_light_edsr):
        try:
            found = match(state)
        except (KeyError, ValueError, IndexError):  # some names match, but the network is another one
            continue
        if found:
            return found
    return None


def _match_rrdbnet(state: State) -> Found | None:
    if "body.0.rdb1.conv1.weight" not in state:
        return None
    blocks, channels = _count(state, r"body\.(\d+)\."), state["conv_first.weight"].shape[0]
    fold = {3: 1, 12: 2, 48: 4}[state["conv_first.weight"].shape[1]]
    scale = 2 ** sum(f"conv_up{n}.weight" in state for n in (1, 2, 3)) // fold
    growth = state["body.0.rdb1.conv1.weight"].shape[0]
    config = RRDBNetConfig(blocks=blocks, channels=channels, growth_channels=growth, unshuffle=fold > 1)
    return Found(config, scale, f"RRDBNet x{scale} with {blocks} blocks of {channels} + {growth} channels")


def _match_compact(state: State) -> Found | None:
    if not {"body.0.weight", "body.1.weight"} <= state.keys() or state["body.0.weight"].ndim != 4:
        return None
    last, channels = _count(state, r"body\.(\d+)\.") - 1, state["body.0.weight"].shape[0]
    scale = round((state[f"body.{last}.weight"].shape[0] / 3) ** 0.5)
    config = CompactConfig(convs=(last - 2) // 2, channels=channels)
    return Found(config, scale, f"SRVGGNetCompact x{scale} with {config.convs} convolutions of {channels} channels")


def _match_srresnet(state: State) -> Found | None:
    if not {"head.0.weight", "merge.0.weight", "tail.weight"} <= state.keys():
        return None
    blocks, channels = _count(state, r"trunk\.(\d+)\."), state["head.0.weight"].shape[0]
    scale = 1
    for n in range(_count(state, r"upsample\.(\d+)\.")):
        scale *= round((state[f"upsample.{n}.0.weight"].shape[0] / channels) ** 0.5)
    skip, norm = "adds_interpolation" in state, "merge.1.running_mean" in state
    config = SRResNetConfig(blocks=blocks, channels=channels, interpolated_skip=skip, batch_norm=norm)
    return Found(config, scale, f"SRResNet x{scale} with {blocks} blocks of {channels} channels")


def _match_light_edsr(state: State) -> Found | None:
    if not {"head.weight", "trunk.0.conv1.weight", "tail.weight"} <= state.keys():
        return None
    blocks, channels = _count(state, r"trunk\.(\d+)\."), state["head.weight"].shape[0]
    scale = round((state["tail.weight"].shape[0] / 3) ** 0.5)
    config = LightEDSRConfig(blocks=blocks, channels=channels)
    return Found(config, scale, f"LightEDSR x{scale} with {blocks} blocks of {channels} channels")


def _count(state: State, pattern: str) -> int:
    """Return the number of numbered blocks; ValueError if there are none, or one has a larger number than tensors."""
    last = max((int(m[1][:9]) for k in state if (m := re.match(pattern, k))), default=-1)
    if not 0 <= last < len(state):  # a name alone must not make a network of any depth
        raise ValueError("the numbers of the blocks make no sense")
    return last + 1


def missing_names(state: State) -> list[str]:
    """Return the names that a state dict lacks to be one of this package's networks; empty if it resembles none.

    Sizes are not compared: the names tell the architecture and its depth.
    """
    for guess in (_like_rrdbnet, _like_compact, _like_srresnet, _like_light_edsr):
        try:
            expected = guess(state)
        except ValueError:  # the numbers in its names make no sense
            continue
        missing = [k for k in expected if k not in state]
        if expected and len(missing) <= len(expected) // 2 and state.keys() <= set(expected):
            return missing
    return []


def _like_rrdbnet(state: State) -> list[str]:
    if not any(re.match(r"body\.\d+\.rdb\d\.conv\d\.", k) for k in state):
        return []
    config = RRDBNetConfig(blocks=_count(state, r"body\.(\d+)\."), channels=2, growth_channels=1)
    return list(config.build(2 ** sum(f"conv_up{n}.weight" in state for n in (1, 2, 3))).state_dict())


def _like_compact(state: State) -> list[str]:
    if not state or not all(re.match(r"body\.\d+\.(weight|bias)$", k) for k in state):
        return []
    return list(CompactConfig(convs=max(0, _count(state, r"body\.(\d+)\.") - 2) // 2, channels=2).build(1).state_dict())


def _like_srresnet(state: State) -> list[str]:
    if not any(re.match(r"trunk\.\d+\.", k) for k in state) or not {"merge.0.weight", "tail.weight"} & state.keys():
        return []
    steps = _count(state, r"upsample\.(\d+)\.") if any(k.startswith("upsample.") for k in state) else 0
    config = SRResNetConfig(
        blocks=_count(state, r"trunk\.(\d+)\."), channels=2, interpolated_skip="adds_interpolation" in state,
        batch_norm=any("running_mean" in k for k in state),
    )  # fmt: skip
    return list(config.build(2**steps).state_dict())


def _like_light_edsr(state: State) -> list[str]:
    if not any(re.match(r"trunk\.\d+\.conv\d\.", k) for k in state):
        return []
    return list(LightEDSRConfig(blocks=_count(state, r"trunk\.(\d+)\."), channels=2).build(1).state_dict())


_FOREIGN = (
    (r"lora_|\.lokr_|\.hada_", "a LoRA, which modifies a diffusion model"),
    (r"^model\.diffusion_model\.", "a Stable Diffusion checkpoint"),
    (
        r"^(down_blocks|mid_block)\.|^(en|de)coder\.(down|mid_block|up_blocks)",
        "a part of a diffusion model (diffusers)",
    ),
    (r"^(double|single)_(stream_modules|blocks|transformer_blocks)\.", "a diffusion transformer"),
    (r"text_model\.encoder\.|^transformer\.resblocks\.", "a text or image encoder (CLIP)"),
    (r"(^|\.)layers\.\d+\.self_attn\.q_proj|^lm_head\.|^transformer\.h\.\d+\.", "a language model"),
    (r":0$|(^|[/.])(kernel|moving_mean)$", "weights of TensorFlow, Keras or Flax"),
)
"""Names by which networks that are no super-resolution networks are known."""


def foreign_kind(state: State) -> str | None:
    """Return what a state dict is, if its names show that it belongs to no super-resolution network."""
    return next((kind for names, kind in _FOREIGN if any(re.search(names, k) for k in state)), None)


def describe(state: State) -> str:
    """Return what a state dict appears to contain, for error messages."""
    found = identify(state)
    if found:
        return found.name
    if any(k.endswith("conv9.weight") for k in state) and any("weight_orig" in k for k in state):
        return "a U-Net discriminator"
    if any(k.startswith("classifier.") for k in state):
        return "a classifier or VGG-style discriminator"
    names = ", ".join(list(state)[:3])
    return f"{len(state)} parameters of an unknown network ({names}, ...)" if state else "no parameters at all"


def load_compatible_state_dict(network: nn.Module, state: State, name: str) -> None:
    """Load parameters in any published layout into a network.

    Args:
        network: The network to load into.
        state: Its parameters, under current or older names.
        name: What the error message calls the source of `state`, usually a file.

    Raises:
        ValueError: If the parameters do not match the network. The message lists missing and unknown names and says
            what the file appears to contain.
    """
    given, expected = renamed(state), network.state_dict()
    missing = [k for k in expected if k not in given]
    unknown = [k for k in given if k not in expected]
    wrong_shapes = [
        f"{k} has shape {tuple(given[k].shape)}, expected {tuple(v.shape)}"
        for k, v in expected.items()
        if k in given and given[k].shape != v.shape
    ]
    problems = [f"{kind}: {first_few(keys)}" for kind, keys in (("missing", missing), ("unknown", unknown)) if keys]
    problems += wrong_shapes[:1]
    if problems:
        raise ValueError(
            f"{name}: the weights do not match this {type(network).__name__} ({'; '.join(problems)}). "
            f"The file appears to contain {describe(given)}; "
            + (f"to match it, pass {found.flags}" if (found := identify(given)) else "choose another file")
        )
    network.load_state_dict(given)


def first_few(keys: list[str]) -> str:
    """Return the first three names and the number of the others, for messages."""
    return ", ".join(keys[:3]) + (f" and {len(keys) - 3} more" if len(keys) > 3 else "")
