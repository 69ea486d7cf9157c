"""What is in a converted folder beside the shards: indexes, tokenizer, and config.json."""

import hashlib
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mlx_wan import __version__
from mlx_wan.loading import FORMAT_VERSION

from .choose import Model
from .prepare import DTYPE_NAMES, component_dtype
from .write import Journal, Shard, shard_index, write_atomically


def write_small_files(
    partial: Path, found: Model, shards: dict[str, list[Shard]], journal: Journal
) -> dict[str, dict[str, Any]]:
    """Indexes and tokenizer; returns size and hash of every file of the model."""
    small = {
        f"{name}/model.safetensors.index.json": shard_index(component)
        for name, component in shards.items()
    }
    small[f"tokenizer/{found.tokenizer.name}"] = found.tokenizer.data
    files = dict(journal.shards)
    for name, data in small.items():
        (partial / name).parent.mkdir(exist_ok=True)
        write_atomically(partial / name, data)
        files[name] = {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    return dict(sorted(files.items()))


def folder_config(
    found: Model,
    shards: dict[str, list[Shard]],
    files: dict[str, dict[str, Any]],
    journal: Journal,
    dtype: str,
    origin: dict[str, str],
) -> dict[str, Any]:
    """The config.json of the converted folder."""
    components: dict[str, Any] = {}
    for name, part in found.parts.items():
        jobs = [job for shard in shards[name] for job in shard.jobs]
        quantization = next((job.quantization for job in jobs if job.quantization), None)
        components[name] = {
            "network": part.network,
            "config": asdict(part.config),
            "dtype": DTYPE_NAMES[component_dtype(part, dtype)],
            "quantization": asdict(quantization) if quantization else None,
            "files": [shard.path for shard in shards[name]],
        }
    components["tokenizer"] = {
        "network": found.tokenizer.network,
        "config": {},
        "dtype": None,
        "quantization": None,
        "files": [f"tokenizer/{found.tokenizer.name}"],
    }
    sources = {
        file.relative_to(found.root).as_posix(): {
            "size": file.stat().st_size,
            "sha256": journal.sources[str(file)],
        }
        for file in found.files
    }
    return {
        "format": "mlx-wan",
        "format_version": FORMAT_VERSION,
        "mlx_wan_version": __version__,
        "model": found.preset.id,
        "components": components,
        "source": {**origin, "layout": found.layout, "files": sources},
        "files": files,
        "dropped": [
            {"file": part.found.checkpoint.path.name, "name": name, "reason": reason}
            for part in found.parts.values()
            for name, reason in sorted(part.found.dropped.items())
        ],
    }
