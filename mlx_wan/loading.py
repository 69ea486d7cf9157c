"""Converted model folder -> networks: strict, memory-mapped, lazy, quantised or not.

A folder is `config.json` plus safetensors in our names (written by `mlx-wan convert`). Headers are
checked by us before MLX sees a file, and every tensor a network has must be there in its shape.
"""

import hashlib
import json
from dataclasses import dataclass, fields
from importlib import import_module
from pathlib import Path, PurePosixPath
from types import ModuleType
from typing import Any, cast

from .errors import BadFileError, ModelError
from .home import models_folder
from .presets import PRESETS, Preset

FORMAT_VERSION = 1
_MAX_CONFIG_BYTES = 8_000_000
_MAX_SETTING = 2**20  # no width, length or count in a network's config is larger

# network name in config.json -> (module, config class, network class)
_NETWORKS = {
    "wan_transformer": ("wan", "WanConfig", "WanTransformer"),
    "umt5": ("umt5", "UMT5Config", "UMT5Encoder"),
    "wan_vae21": ("vae_wan21", "WanVAE21Config", "WanVAE21"),
    "wan_vae22": ("vae_wan22", "WanVAE22Config", "WanVAE22"),
}


@dataclass(frozen=True)
class Component:
    """One network of a model: what it is, how it is stored, and its files."""

    name: str
    network: str
    config: dict[str, Any]
    dtype: str
    quantization: dict[str, int] | None
    files: tuple[Path, ...]
    nbytes: int


@dataclass(frozen=True)
class ModelFolder:
    """A converted model on disk. `fingerprint` changes when any weight or setting does."""

    path: Path
    preset: Preset
    components: dict[str, Component]
    fingerprint: str

    def __getitem__(self, name: str) -> Component:
        return self.components[name]


def find_model(name: str | None) -> Path:
    """The folder for a path, a name below the models folder, or the only model there is.

    Raises ModelError when there is no such folder, or when `name` is None and the choice is open.
    """
    installed = installed_models()
    if name is not None:
        for candidate in (Path(name).expanduser(), models_folder() / name):
            if candidate.is_dir():
                return candidate
        raise ModelError(
            f"there is no model {name!r}: neither a folder nor a name in {models_folder()}",
            "installed: " + (", ".join(installed) or "none; make one with `mlx-wan convert`"),
        )
    if len(installed) == 1:
        return models_folder() / installed[0]
    if not installed:
        raise ModelError(
            f"no model is installed in {models_folder()}",
            "make one with `mlx-wan convert SOURCE DEST`, then give --model DEST",
        )
    raise ModelError(
        f"{len(installed)} models are installed and none was named",
        f"give --model with one of: {', '.join(installed)}",
    )


def installed_models() -> list[str]:
    """Names of the converted models in the models folder, sorted."""
    if not models_folder().is_dir():
        return []
    return sorted(path.parent.name for path in models_folder().glob("*/config.json"))


def open_model(path: str | Path) -> ModelFolder:
    """Read and check `config.json` and the presence and sizes of all files; no weight is read.

    Raises ModelError when the folder is not a converted model, BadFileError when it is damaged.
    """
    path = Path(path)
    config_file = path / "config.json"
    if not config_file.is_file():
        raise ModelError(
            f"{path} is not a converted model: it has no config.json",
            "published checkpoints are converted once: `mlx-wan convert SOURCE DEST`",
        )
    if config_file.stat().st_size > _MAX_CONFIG_BYTES:
        raise BadFileError(f"{config_file} is too large to be a model's config.json")
    raw = config_file.read_bytes()
    try:
        config = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise BadFileError(f"{config_file} is not valid JSON: {error}") from None
    if not isinstance(config, dict) or config.get("format") != "mlx-wan":
        raise ModelError(
            f"{path} was not written by mlx-wan",
            "convert the published checkpoint: `mlx-wan convert SOURCE DEST`",
        )
    if config.get("format_version") != FORMAT_VERSION:
        raise ModelError(
            f"{path} has format version {config.get('format_version')!r}; "
            f"this version reads {FORMAT_VERSION}",
            "convert the published checkpoint again",
        )
    try:
        preset = PRESETS[config["model"]]
        sizes = {name: entry["size"] for name, entry in config["files"].items()}
        components = {
            name: _component(path, name, entry, sizes)
            for name, entry in config["components"].items()
        }
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise BadFileError(
            f"{config_file} is damaged: {type(error).__name__} {error}", "convert it again"
        ) from None
    needed = [*(expert.name for expert in preset.experts), "text_encoder", "vae", "tokenizer"]
    missing = [name for name in needed if name not in components]
    if missing:
        raise ModelError(f"{path} lacks {', '.join(missing)}", "convert the whole checkpoint again")
    return ModelFolder(path, preset, components, hashlib.sha256(raw).hexdigest())


def load_network(component: Component, *, widen: bool = True) -> Any:
    """Build the network of a component and fill it, strictly; weights stay lazy until used.

    On the CPU backend 16-bit weights are widened to float32 (16-bit matmul is emulated there),
    unless the network does that itself (`widen` false).
    Raises BadFileError for a damaged file or a missing, extra or misshapen tensor.
    """
    import mlx.core as mx
    import mlx.nn as nn
    from mlx.utils import tree_flatten

    from .cpu import is_cpu
    from .tensorfile import read_header

    class_name = _NETWORKS[component.network][2]
    network = getattr(network_module(component), class_name)(network_config(component))
    weights: dict[str, mx.array] = {}
    for file in component.files:
        read_header(file)
        weights.update(cast(dict[str, mx.array], mx.load(str(file))))
    if component.quantization:
        nn.quantize(
            network,
            group_size=component.quantization["group_size"],
            bits=component.quantization["bits"],
            class_predicate=lambda path, _: f"{path}.scales" in weights,
        )
    if widen and is_cpu():
        weights = {
            name: value.astype(mx.float32) if mx.issubdtype(value.dtype, mx.floating) else value
            for name, value in weights.items()
        }
    expected = dict(tree_flatten(network.parameters()))
    problem = _mismatch(expected, weights)
    if problem:
        raise BadFileError(f"{component.name} does not fit its config: {problem}")
    network.load_weights(list(weights.items()), strict=True)
    network.eval()
    return network


def load_tokenizer(folder: ModelFolder) -> Any:
    """The tokenizer of a model, cut at the text length its transformer was made for."""
    from .tokenizer import Tokenizer

    expert = folder[folder.preset.experts[0].name]
    return Tokenizer(folder["tokenizer"].files[0], int(expert.config["text_len"]))


def network_config(component: Component) -> Any:
    """The config dataclass of a component. Raises BadFileError when the fields do not fit."""
    config_class = getattr(network_module(component), _NETWORKS[component.network][1])
    values = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in component.config.items()
    }
    for name, value in values.items():
        for number in value if isinstance(value, tuple) else (value,):
            if not isinstance(number, int | float) or abs(number) > _MAX_SETTING:
                raise BadFileError(f"{component.name} has {name} {number!r} in its config")
    unknown = set(values) - {field.name for field in fields(config_class)}
    if unknown:
        raise BadFileError(f"{component.name} has unknown settings: {', '.join(sorted(unknown))}")
    try:
        return config_class(**values)
    except TypeError as error:
        raise BadFileError(f"{component.name} has incomplete settings: {error}") from None


def network_module(component: Component) -> ModuleType:
    """The module in `models/` that a component's network is from."""
    if component.network not in _NETWORKS:
        raise ModelError(
            f"{component.name} is a {component.network!r}; known: {', '.join(_NETWORKS)}",
            "it was converted by a newer version: pip install -U mlx-wan",
        )
    return import_module(f".models.{_NETWORKS[component.network][0]}", __package__)


def _component(folder: Path, name: str, entry: dict[str, Any], sizes: dict[str, int]) -> Component:
    files = []
    for relative in entry["files"]:
        inside = PurePosixPath(relative)
        if inside.is_absolute() or ".." in inside.parts:
            raise ValueError(f"{relative!r} points outside the model folder")
        file = folder / inside
        if not file.is_file():
            raise BadFileError(f"{file} is missing", "convert or copy the model again")
        if file.stat().st_size != sizes[relative]:
            raise BadFileError(
                f"{file} has {file.stat().st_size:,} bytes instead of {sizes[relative]:,}",
                "the copy is incomplete; `mlx-wan convert --verify` checks the whole folder",
            )
        files.append(file)
    if not files:
        raise ValueError(f"{name} has no files")
    return Component(
        name=name,
        network=entry["network"],
        config=dict(entry.get("config") or {}),
        dtype=entry.get("dtype", "float32"),
        quantization=entry.get("quantization"),
        files=tuple(files),
        nbytes=sum(sizes[relative] for relative in entry["files"]),
    )


def _mismatch(expected: dict[str, Any], given: dict[str, Any]) -> str | None:
    missing = sorted(expected.keys() - given.keys())
    extra = sorted(given.keys() - expected.keys())
    if missing:
        return f"{len(missing)} tensors are missing, the first is {missing[0]}"
    if extra:
        return f"{len(extra)} tensors are unknown, the first is {extra[0]}"
    for name, value in expected.items():
        if value.shape != given[name].shape:
            return f"{name} has shape {given[name].shape}, not {value.shape}"
    return None
