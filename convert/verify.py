"""Re-check a converted folder: hashes, headers against the config, nothing missing or added."""

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from mlx_wan.errors import BadFileError, MlxWanError, ModelError
from mlx_wan.events import Event, Report, ignore
from mlx_wan.files import file_sha256
from mlx_wan.home import expanded
from mlx_wan.loading import FORMAT_VERSION, NETWORKS
from mlx_wan.tensorfile import read_header

from .discover import read_json
from .quantize import is_quantized
from .sizes import config_from_json, expected_shapes


def verify(dest: str | Path, progress: Report | None = None) -> list[str]:
    """What is wrong with a converted folder, a line per file; nothing when it is whole.

    Raises ModelError or BadFileError if it is no converted folder or its config.json is damaged.
    """
    dest = expanded(dest)
    report = progress or ignore
    if not (dest / "config.json").is_file():
        raise ModelError(f"{dest} is no converted model: it has no config.json")
    config = read_json(dest / "config.json")
    if config.get("format") != "mlx-wan" or config.get("format_version") != FORMAT_VERSION:
        raise ModelError(f"{dest} was not written by this version of mlx-wan")
    try:
        files, components = config["files"], config["components"]
        total = sum(entry["size"] for entry in files.values())
        problems: dict[str, str] = {}
        done = 0
        for name, entry in files.items():
            problem = _check_file(dest, name, entry)
            if problem:
                problems[name] = problem
            done += entry["size"]
            report(Event("verify", done, total, name))
        for name, component in components.items():
            for file, problem in _check_component(dest, name, component, files):
                problems.setdefault(file, problem)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise BadFileError(
            f"{dest / 'config.json'} is damaged: {type(error).__name__} {error}", "convert it again"
        ) from None
    for name in _unlisted(dest, files):
        problems.setdefault(name, "is not listed in config.json")
    return [f"{name}: {problem}" for name, problem in sorted(problems.items())]


def _check_file(dest: Path, name: str, entry: dict[str, Any]) -> str | None:
    inside = PurePosixPath(name)
    if inside.is_absolute() or ".." in inside.parts:
        return "lies outside the folder"
    path = dest / inside
    if not path.is_file():
        return "is missing"
    size = path.stat().st_size
    if size != entry["size"]:
        return f"has {size:,} bytes, not {entry['size']:,}"
    if file_sha256(path) != entry["sha256"]:
        return "has other contents than when it was written (SHA-256)"
    return None


def _check_component(
    dest: Path, name: str, component: dict[str, Any], files: dict[str, Any]
) -> Iterator[tuple[str, str]]:
    """(file, problem): tensors against what the network of this config needs."""
    network = component["network"]
    for file in component["files"]:
        if file not in files:
            yield file, "is used but has no hash in config.json"
    if network not in NETWORKS:
        return
    expected = expected_shapes(network, config_from_json(network, component["config"]))
    wanted = _stored_shapes(network, expected, component["quantization"])
    found: dict[str, tuple[int, ...]] = {}
    for file in component["files"]:
        if not (dest / file).is_file():
            continue
        try:
            header = read_header(dest / file)
        except MlxWanError as error:
            yield file, error.message
            continue
        for tensor, info in header.items():
            if wanted.get(tensor) != info.shape:
                yield file, f"has {tensor} in shape {list(info.shape)}, against the config"
            found[tensor] = info.shape
    if found and wanted.keys() - found.keys():
        missing = sorted(wanted.keys() - found.keys())[0]
        yield f"{name}/model.safetensors.index.json", f"no shard of it has {missing}"


def _stored_shapes(
    network: str, expected: dict[str, tuple[int, ...]], quantization: dict[str, int] | None
) -> dict[str, tuple[int, ...]]:
    if not quantization:
        return expected
    bits, group_size = quantization["bits"], quantization["group_size"]
    stored = dict(expected)
    for name, shape in expected.items():
        if is_quantized(network, name):
            rows, columns = shape
            stem = name.removesuffix(".weight")
            stored[name] = (rows, columns * bits // 32)
            stored[f"{stem}.scales"] = stored[f"{stem}.biases"] = (rows, columns // group_size)
    return stored


def _unlisted(dest: Path, files: dict[str, Any]) -> list[str]:
    """Weights in the folder that config.json says nothing about."""
    found = []
    for folder, _, names in os.walk(dest):
        for name in names:
            relative = (Path(folder) / name).relative_to(dest).as_posix()
            if name.endswith(".safetensors") and relative not in files:
                found.append(relative)
    return found
