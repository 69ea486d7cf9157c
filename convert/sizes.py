"""The config of a network from its tensors, and the tensors a config calls for.

Whatever a shape tells is taken from the shape. A `config.json` beside it adds what shapes cannot
tell (heads, text length, epsilons) and must not contradict them.
"""

import re
from collections.abc import Mapping
from importlib import import_module
from math import isfinite, prod
from typing import Any

from mlx_wan.errors import BadFileError, MlxWanError
from mlx_wan.loading import NETWORKS

Shape = tuple[int, ...]
Shapes = Mapping[str, Shape]

HEAD_DIM = 128  # of every published Wan; only for files without a config.json (ComfyUI)
TEXT_LEN = 512  # likewise


def network_config(network: str, shapes: Shapes, settings: Mapping[str, Any], where: str) -> Any:
    """The config dataclass of a network.

    `shapes` are the tensors by our names and in our axis order, except for the patch embedding of
    the transformer, which keeps its own (5 axes, or 2 of mlx-video). `settings` is the config.json
    beside the checkpoint or {}; `where` names the checkpoint in messages.
    """
    reader = Settings(settings, where)
    try:
        if network == "wan_transformer":
            values = _transformer(shapes, reader)
        elif network == "umt5":
            values = _umt5(shapes, reader)
        else:
            values = _vae(network, shapes, reader)
    except (KeyError, IndexError, ValueError, ZeroDivisionError) as error:
        what = f"no {error.args[0]}" if isinstance(error, KeyError) else str(error)
        raise BadFileError(
            f"{where} is no complete {network}: {what}",
            "it may be half a download, or another model",
        ) from None
    module, config_class, _ = NETWORKS[network]
    try:
        return getattr(import_module(f"mlx_wan.models.{module}"), config_class)(**values)
    except MlxWanError as error:  # a config that checks itself does not know the file
        raise BadFileError(f"{where}: {error.message}", error.hint) from None


def expected_shapes(network: str, config: Any) -> dict[str, Shape]:
    """Every tensor of the network of this config, in our names and axis order."""
    from mlx.utils import tree_flatten

    module, _, network_class = NETWORKS[network]
    built: Any = getattr(import_module(f"mlx_wan.models.{module}"), network_class)(config)
    parameters: Any = tree_flatten(built.parameters())
    return {name: tuple(value.shape) for name, value in parameters}


class Settings:
    """A config.json from outside: values are checked when they are asked for."""

    def __init__(self, values: Mapping[str, Any], where: str):
        self.values = values
        self.where = where

    def whole(self, names: tuple[str, ...], default: int, limit: int = 2**31 - 1) -> int:
        """A positive whole number under the first of `names` that is there."""
        name, value = self._find(names, default)
        if type(value) is not int or not 0 < value <= limit:
            self.refuse(name, value, f"a whole number from 1 to {limit:,}")
        return value

    def number(self, names: tuple[str, ...], default: float) -> float:
        name, value = self._find(names, default)
        if type(value) not in (int, float) or not isfinite(value) or not 0 < value < 1:
            self.refuse(name, value, "a number between 0 and 1")
        return float(value)

    def numbers(self, name: str, length: int) -> tuple[float, ...] | None:
        """A list of `length` finite numbers, or None when there is none."""
        value = self.values.get(name)
        if value is None:
            return None
        fits = isinstance(value, list) and len(value) == length
        if not fits or not all(type(x) in (int, float) and isfinite(x) for x in value):
            self.refuse(name, value, f"a list of {length} numbers")
        return tuple(float(x) for x in value)

    def agree(self, names: tuple[str, ...], found: Any) -> None:
        """Raise unless the config is silent about it or says what the tensors say."""
        name, value = self._find(names, found)
        if value != found or isinstance(value, bool) != isinstance(found, bool):
            self.refuse(name, value, f"{found}, as its tensors have it")

    def refuse(self, name: str, value: Any, accepted: str) -> None:
        raise BadFileError(
            f"the config.json of {self.where} has {name} = {str(value)[:60]!r}, not {accepted}",
            "download the file again",
        )

    def _find(self, names: tuple[str, ...], default: Any) -> tuple[str, Any]:
        for name in names:
            if self.values.get(name) is not None:
                return name, self.values[name]
        return names[0], default


def _transformer(shapes: Shapes, settings: Settings) -> dict[str, Any]:
    dim = shapes["head.modulation"][-1]
    patch = shapes["patch_embedding.weight"]
    patch_size = patch[2:] if len(patch) == 5 else patch_size_of(settings.values)
    in_dim = patch[1] if len(patch) == 5 else patch[1] // prod(patch_size)
    values = {
        "dim": dim,
        "ffn_dim": shapes["blocks.0.ffn.fc1.weight"][0],
        "num_layers": _count(shapes, "blocks"),
        "in_dim": in_dim,
        "out_dim": shapes["head.head.weight"][0] // prod(patch_size),
        "text_dim": shapes["text_embedding.fc1.weight"][1],
        "freq_dim": shapes["time_embedding.fc1.weight"][1],
        "cross_attn_norm": "blocks.0.norm3.weight" in shapes,
    }
    settings.agree(("dim",), dim)
    settings.agree(("ffn_dim",), values["ffn_dim"])
    settings.agree(("num_layers",), values["num_layers"])
    settings.agree(("in_dim", "in_channels"), in_dim)
    settings.agree(("out_dim", "out_channels"), values["out_dim"])
    settings.agree(("text_dim",), values["text_dim"])
    settings.agree(("freq_dim",), values["freq_dim"])
    settings.agree(("patch_size",), list(patch_size))
    heads = settings.whole(("num_heads", "num_attention_heads"), max(1, dim // HEAD_DIM))
    if dim % heads or dim // heads % 2:
        raise BadFileError(
            f"{settings.where} is {dim} wide, which does not divide into {heads} even heads",
            "put the config.json of the original release beside it; it states the number of heads",
        )
    settings.agree(("attention_head_dim",), dim // heads)
    return {
        **values,
        "num_heads": heads,
        "text_len": settings.whole(("text_len",), TEXT_LEN, limit=4096),
        "eps": settings.number(("eps",), 1e-6),
        "patch_size": tuple(patch_size),
    }


def patch_size_of(settings: Mapping[str, Any]) -> Shape:
    """The patch size a config.json states, or that of every published Wan."""
    value = settings.get("patch_size")
    if isinstance(value, list) and len(value) == 3 and all(type(n) is int and n > 0 for n in value):
        return tuple(value)
    return (1, 2, 2)


def _umt5(shapes: Shapes, settings: Settings) -> dict[str, Any]:
    vocab_size, dim = shapes["token_embedding.weight"]
    num_buckets, num_heads = shapes["blocks.0.pos_embedding.weight"]
    values = {
        "vocab_size": vocab_size,
        "dim": dim,
        "dim_attn": shapes["blocks.0.attn.q.weight"][0],
        "dim_ffn": shapes["blocks.0.ffn.fc1.weight"][0],
        "num_heads": num_heads,
        "num_layers": _count(shapes, "blocks"),
        "num_buckets": num_buckets,
    }
    settings.agree(("d_model",), dim)
    settings.agree(("num_heads",), num_heads)
    settings.agree(("d_ff",), values["dim_ffn"])
    settings.agree(("num_layers",), values["num_layers"])
    settings.agree(("vocab_size",), vocab_size)
    return {
        **values,
        "max_distance": settings.whole(("relative_attention_max_distance",), 128, limit=65536),
        "eps": settings.number(("layer_norm_epsilon",), 1e-6),
    }


def _vae(network: str, shapes: Shapes, settings: Settings) -> dict[str, Any]:
    """Widths of the encoder's stages, and what is between them, in the order they come."""
    nested = network == "wan_vae22"
    z_dim = shapes["conv2.weight"][0]
    base_dim = shapes["encoder.conv1.weight"][0]
    stages: list[list[int]] = [[]]
    temporal: list[bool] = []
    for place in _encoder_blocks(shapes, nested):
        if f"{place}.conv1.weight" in shapes:
            stages[-1].append(shapes[f"{place}.conv1.weight"][0])
        else:
            temporal.append(f"{place}.time_conv.weight" in shapes)
            stages.append([])
    widths = [stage[-1] for stage in stages]
    if any(width % base_dim for width in widths):
        raise ValueError(f"its widths {widths} are no multiples of {base_dim}")
    mult = tuple(width // base_dim for width in widths)
    values: dict[str, Any] = {
        "base_dim": base_dim,
        "z_dim": z_dim,
        "dim_mult": mult,
        "num_res_blocks": len(stages[0]),
        "temporal_downsample": tuple(temporal),
    }
    if nested:
        values["decoder_base_dim"] = shapes["decoder.head.norm.gamma"][0] // mult[0]
        values["patch_size"] = int((shapes["encoder.conv1.weight"][-1] // 3) ** 0.5)
    settings.agree(("base_dim",), base_dim)
    settings.agree(("z_dim",), z_dim)
    settings.agree(("dim_mult",), list(mult))
    settings.agree(("temperal_downsample",), temporal)
    values |= _latent_statistics(network, z_dim, settings)
    return values


def _latent_statistics(network: str, z_dim: int, settings: Settings) -> dict[str, Any]:
    """Mean and deviation of latents: from the config, else what the authors published."""
    mean = settings.numbers("latents_mean", z_dim)
    std = settings.numbers("latents_std", z_dim)
    if std is not None and not all(value > 0 for value in std):
        settings.refuse("latents_std", std, "positive")
    if mean is not None and std is not None:
        return {"latents_mean": mean, "latents_std": std}
    published = 48 if network == "wan_vae22" else 16
    if z_dim != published:
        raise ValueError(
            f"it has {z_dim} latent channels, and only for {published} the mean and deviation "
            "are known without a config.json that has latents_mean and latents_std"
        )
    return {}  # the defaults of the config class


def _encoder_blocks(shapes: Shapes, nested: bool) -> list[str]:
    """Names of the encoder's blocks, "encoder.downsamples.0" and so on, in order."""
    pattern = r"encoder\.downsamples\.\d+" + (r"\.downsamples\.\d+" if nested else "")
    found = {match[0] for name in shapes if (match := re.match(pattern, name))}
    return sorted(found, key=lambda name: [int(part) for part in name.split(".") if part.isdigit()])


def _count(shapes: Shapes, stem: str) -> int:
    """How many `stem`.0, `stem`.1, ... there are."""
    numbers = {int(name.split(".")[1]) for name in shapes if name.startswith(f"{stem}.")}
    if numbers != set(range(len(numbers))):
        gap = min(set(range(max(numbers))) - numbers)
        raise ValueError(f"{stem}.{gap} is missing")
    return len(numbers)


def config_from_json(network: str, values: Mapping[str, Any]) -> Any:
    """The config dataclass from a converted config.json, where tuples are lists."""
    module, config_class, _ = NETWORKS[network]
    known = {name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}
    return getattr(import_module(f"mlx_wan.models.{module}"), config_class)(**known)
