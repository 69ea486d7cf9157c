"""Converted model folder -> networks: strict, lazy (a tensor is read when used), quantised or not.

A folder is `config.json` plus safetensors in our names (written by `mlx-wan convert`). Headers are
checked by us before MLX sees a file, and every tensor a network has must be there in its shape.
"""

import hashlib
import json
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, cast

from .errors import BadFileError, ModelError
from .home import expanded, models_folder
from .models import NETWORKS, TOKENIZERS
from .presets import EMBEDDED, PRESETS, Preset
from .presets.near import meant
from .registry import active_model
from .settings import check_component, network_settings, shown
from .tensorfile import strict_json

FORMAT_VERSION = 1
_MAX_CONFIG_BYTES = 8_000_000
_STORED = ("F32", "F16", "BF16", "U32")  # U32: packed codes of quantised weights


@dataclass(frozen=True)
class Component:
    """One network of a model: what it is, how it is stored, and its files.

    Without files it is known from its shapes alone (published.py), and `tensors` counts them.
    """

    name: str
    network: str
    config: dict[str, Any]
    dtype: str
    quantization: dict[str, int] | None
    files: tuple[Path, ...]
    nbytes: int
    tensors: int = 0


@dataclass(frozen=True)
class ModelFolder:
    """A converted model on disk.

    `fingerprint` changes when any weight or setting does, not with where or by which version the
    same weights were converted.
    """

    path: Path
    preset: Preset
    components: dict[str, Component]
    fingerprint: str

    def __getitem__(self, name: str) -> Component:
        return self.components[name]

    @property
    def precision(self) -> str:
        """What the weights are stored in, as in "8 bit/bfloat16"."""
        kinds = {
            f"{c.quantization['bits']} bit" if c.quantization else c.dtype
            for c in self.components.values()
            if c.network not in TOKENIZERS
        }
        return "/".join(sorted(kinds))


def find_model(name: str | None) -> Path:
    """The folder for a path or a name below the models folder; without one, the default model.

    That is the active one of the registry, else the only one in the models folder, else, while
    there is none and never was, the embedded wan-mini. Raises ModelError when there is no such
    folder, or when `name` is None and the choice is open.
    """
    if name is not None:
        return _named_model(name)
    active, installed = active_model(), installed_models()
    if active is not None:
        if active not in installed and active != EMBEDDED:
            raise ModelError(
                f"the active model {active!r} is missing from {models_folder()}",
                f"convert it again, or give --model with one of: {', '.join(_names())}",
            )
        return _named_model(active)
    if not installed:
        return embedded_model()
    if len(installed) > 1:
        raise ModelError(
            f"{len(installed)} models are installed and none was named",
            f"give --model with one of: {', '.join(_names())}",
        )
    return models_folder() / installed[0]


def _named_model(name: str) -> Path:
    for candidate in (expanded(name), models_folder() / name):
        if candidate.is_dir() and (name != EMBEDDED or (candidate / "config.json").is_file()):
            return candidate
    if name == EMBEDDED:
        return embedded_model()
    how = (
        f"{meant(name)}`mlx-wan models` shows what can be downloaded, `mlx-wan convert` takes "
        "folders"
    )
    if name in PRESETS:  # one we know, not converted yet
        how = f"to make it: mlx-wan models download {name} --convert"
    raise ModelError(
        f"there is no model {name!r}: neither a folder nor a name in {models_folder()}",
        f"there are: {', '.join(_names())}; {how}",
    )


def _names() -> list[str]:
    return list(dict.fromkeys([*installed_models(), EMBEDDED]))


def embedded_model() -> Path:
    """The folder of wan-mini in this package, converted like any other model."""
    return Path(__file__).with_name("assets") / EMBEDDED


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
    raw = _read_config(config_file)
    try:
        config = strict_json(raw)
    except ValueError as error:
        raise BadFileError(f"{config_file} is not valid JSON: {error}") from None
    if not isinstance(config, dict) or config.get("format") != "mlx-wan":
        raise ModelError(
            f"{path} was not written by mlx-wan",
            "convert the published checkpoint: `mlx-wan convert SOURCE DEST`",
        )
    version = config.get("format_version")
    if type(version) is not int or version != FORMAT_VERSION:
        raise ModelError(
            f"{path} has format version {shown(version)}; this version reads {FORMAT_VERSION}",
            "convert the published checkpoint again",
        )
    model, files, entries = config.get("model"), config.get("files"), config.get("components")
    preset = PRESETS.get(model) if isinstance(model, str) else None
    if preset is None:
        raise ModelError(
            f"{path} holds the model {shown(model)}; known: {', '.join(PRESETS)}",
            "it was converted by a newer version: pip install -U mlx-wan",
        )
    if not isinstance(files, dict) or not isinstance(entries, dict):
        raise BadFileError(f"{config_file} lists no files or no components", "convert it again")
    sizes = {
        name: entry.get("size") if isinstance(entry, dict) else None
        for name, entry in files.items()
    }
    components = {name: _component(path, name, entry, sizes) for name, entry in entries.items()}
    folder = ModelFolder(path, preset, components, _fingerprint(preset.id, entries, files))
    _check_together(folder)
    return folder


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

    network = new_network(component)
    weights: dict[str, mx.array] = {}
    for file in component.files:
        for name, info in read_header(file).items():
            if info.dtype not in _STORED:  # MLX cannot load them all
                raise BadFileError(f"{file} stores {name[:80]} as {info.dtype}", "convert it again")
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


def new_network(component: Component) -> Any:
    """The network of a component without its weights."""
    class_name = NETWORKS[component.network][2]
    return getattr(network_module(component), class_name)(network_config(component))


def load_tokenizer(folder: ModelFolder, *, cleaned: bool = True) -> Any:
    """The SentencePiece tokenizer of a model, cut at the text length its transformer was made for.

    `cleaned`: what `tokenizer.clean` does comes before.
    """
    from .tokenizer import Tokenizer

    text_len = network_config(folder[folder.preset.experts[0].name]).text_len
    return Tokenizer(folder["tokenizer"].files[0], text_len, cleaned=cleaned)


def network_config(component: Component) -> Any:
    """The config dataclass of a component. Raises BadFileError when the fields do not fit."""
    config_class = getattr(network_module(component), NETWORKS[component.network][1])
    return network_settings(component.name, config_class, component.config)


def network_module(component: Component) -> ModuleType:
    """The module in `models/` that a component's network is from."""
    if component.network not in NETWORKS:
        raise ModelError(
            f"{component.name} is a {component.network!r}; known: {', '.join(NETWORKS)}",
            "it was converted by a newer version: pip install -U mlx-wan",
        )
    return _module(component.network)


def published_config(preset: Preset, name: str) -> Any:
    """The config a component of a model was published with."""
    network, changes = preset.components[name]
    return getattr(_module(network), NETWORKS[network][1])(**changes)


def _module(network: str) -> ModuleType:
    return import_module(f".models.{NETWORKS[network][0]}", __package__)


def _read_config(file: Path) -> bytes:
    try:
        if file.stat().st_size > _MAX_CONFIG_BYTES:
            raise BadFileError(f"{file} is too large to be a model's config.json")
        return file.read_bytes()
    except OSError as error:
        raise BadFileError(f"{file} cannot be read: {error.strerror}") from None


def _component(folder: Path, name: str, entry: Any, sizes: dict[str, Any]) -> Component:
    check_component(name, entry, sizes)
    files = []
    for relative in entry["files"]:
        file = folder / relative
        if not file.is_file():
            raise BadFileError(f"{file} is missing", "convert or copy the model again")
        if file.stat().st_size != sizes[relative]:
            raise BadFileError(
                f"{file} has {file.stat().st_size:,} bytes instead of {sizes[relative]:,}",
                "the copy is incomplete; `mlx-wan convert --verify` checks the whole folder",
            )
        files.append(file)
    return Component(
        name=name,
        network=entry["network"],
        config=entry["config"],
        dtype=entry.get("dtype") or "float32",
        quantization=entry.get("quantization"),
        files=tuple(files),
        nbytes=sum(sizes[relative] for relative in entry["files"]),
    )


def _check_together(folder: ModelFolder) -> None:
    """Every component its model needs is there, is what its name says, and fits the others."""
    networks = {name: network for name, (network, _) in folder.preset.components.items()}
    missing = [name for name in networks if name not in folder.components]
    if missing:
        raise ModelError(
            f"{folder.path} lacks {', '.join(missing)}", "convert the whole checkpoint again"
        )
    for name, network in networks.items():
        if folder[name].network != network:
            raise ModelError(
                f"{folder.path} has {shown(folder[name].network)} as {name}, not {network}",
                "convert the checkpoint again",
            )
    configs = {
        name: network_config(folder[name])
        for name, network in networks.items()
        if network not in TOKENIZERS
    }
    first = configs[folder.preset.experts[0].name]
    for expert in folder.preset.experts:
        problem = _misfit(configs[expert.name], first, configs, folder.preset)
        if problem:
            raise ModelError(
                f"{expert.name} of {folder.path} {problem}", "convert the checkpoint again"
            )


def _misfit(config: Any, first: Any, configs: dict[str, Any], preset: Preset) -> str | None:
    """What of a transformer does not fit the other networks, the first expert or its preset."""
    latent = configs["vae"].z_dim
    if config.out_dim != latent:
        return f"predicts {config.out_dim} channels, its VAE has {latent}"
    for name, width in getattr(config, "encoder_dims", {}).items():
        if name in configs and width != configs[name].dim:
            return f"reads {name} {width} wide, it is {configs[name].dim} wide"
    published = published_config(preset, preset.experts[0].name)
    takes = latent + published.in_dim - published.out_dim
    if config.in_dim != takes:
        return f"takes {config.in_dim} channels, {preset.id} {takes}"
    for name, value in vars(published).items():  # of another kind, as mean flow's is
        if isinstance(value, bool) and getattr(config, name) != value:
            return f"has {name} {getattr(config, name)}, {preset.id} {value}"
    for name in ("patch_size", "text_len"):
        if getattr(config, name, None) != getattr(first, name, None):
            return f"has another {name} than the first expert"
    return None


def _fingerprint(model: str, components: dict[str, Any], files: dict[str, Any]) -> str:
    stands_for_it = json.dumps([model, components, files], sort_keys=True)
    return hashlib.sha256(stands_for_it.encode()).hexdigest()


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
        if _is_float(value) != _is_float(given[name]):
            return f"{name} holds {given[name].dtype}"
    return None


def _is_float(array: Any) -> bool:
    import mlx.core as mx

    return mx.issubdtype(array.dtype, mx.floating)
