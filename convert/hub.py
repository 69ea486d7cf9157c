"""Where a source is: a folder or file here, or a repository of the Hugging Face hub.

Naming a repository is asking for its download; nothing else ever goes online. The hub's own cache
is used, so a second conversion downloads nothing.
"""

import errno
import re
import shutil
from collections.abc import Callable
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from mlx_wan.errors import ModelError, UsageError
from mlx_wan.events import Event, Report
from mlx_wan.home import expanded

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")
# the original and the diffusers layout: weights, indexes, settings, tokenizer; no images, no CLIP
_PATTERNS = (
    "*.safetensors",
    "*.safetensors.index.json",
    "*VAE.pth",
    "models_t5_*.pth",
    "config.json",
    "*/config.json",
    "*spiece.model",
)
# ComfyUI's repositories hold many models side by side; of split_files/ these make one
_COMFY_TEXT = "text_encoders/umt5_xxl_fp16.safetensors"
_COMFY = {
    "wan2.2-t2v-a14b": ("wan2.2_t2v_*_noise_14B_fp16.safetensors", "wan_2.1_vae.safetensors"),
    "wan2.2-i2v-a14b": ("wan2.2_i2v_*_noise_14B_fp16.safetensors", "wan_2.1_vae.safetensors"),
    "wan2.2-ti2v-5b": ("wan2.2_ti2v_5B_fp16.safetensors", "wan2.2_vae.safetensors"),
    "wan2.1-t2v-1.3b": ("wan2.1_t2v_1.3B_bf16.safetensors", "wan_2.1_vae.safetensors"),
}


def find_source(
    source: str | Path, model: str | None, report: Report
) -> tuple[Path, dict[str, str]]:
    """The folder or file of a source, downloaded if it is a hub id; and what to record of it."""
    path = expanded(source)
    if path.exists():
        if (path / "config.json").is_file() and b'"mlx-wan"' in _beginning(path / "config.json"):
            raise UsageError(f"{path} is converted already", "it can be used as it is, as --model")
        return path.absolute(), {"path": str(source)}
    if not isinstance(source, str) or not _HUB_ID.fullmatch(source):
        raise ModelError(
            f"{source} does not exist",
            "give a folder, or a repository of the hub such as Wan-AI/Wan2.2-T2V-A14B",
        )
    return download(source, model, report)


def download(repo: str, model: str | None, report: Report) -> tuple[Path, dict[str, str]]:
    """Fetch what a conversion needs of a repository, at one commit."""
    from huggingface_hub import HfApi, snapshot_download

    try:
        info = _ask(repo, lambda: HfApi().model_info(repo, files_metadata=True))
        names = {entry.rfilename: entry.size or 0 for entry in info.siblings or []}
        wanted = wanted_files(repo, list(names), model)
        revision, size = info.sha, sum(names[name] for name in wanted)
        _check_space(repo, size)
        report(Event("download", 0, size, f"{repo}: {len(wanted)} files, {size / 1e9:.2f} GB"))
        folder = _ask(
            repo, lambda: snapshot_download(repo, revision=revision, allow_patterns=wanted)
        )
    except _OfflineError as offline:
        try:  # all of it may be here from an earlier time
            folder = snapshot_download(repo, allow_patterns=list(_PATTERNS), local_files_only=True)
            revision = Path(folder).name
        except Exception:
            raise ModelError(
                f"{repo} is neither a folder here nor in the cache, and the hub does not answer: "
                f"{offline}",
                "go online, or download it elsewhere and give its folder",
            ) from None
    return Path(folder).absolute(), {"path": repo, "revision": str(revision)}


def wanted_files(repo: str, names: list[str], model: str | None) -> list[str]:
    """Which files of a repository make the model. Raises UsageError where that is left open."""
    if not any(name.startswith("split_files/") for name in names):
        return [name for name in names if any(fnmatch(name, pattern) for pattern in _PATTERNS)]
    if model not in _COMFY:
        raise UsageError(
            f"{repo} holds several models", f"choose one with --model: {', '.join(_COMFY)}"
        )
    transformer, vae = _COMFY[model]
    patterns = [f"diffusion_models/{transformer}", f"vae/{vae}", _COMFY_TEXT]
    wanted = [
        [name for name in names if fnmatch(name, f"split_files/{pattern}")] for pattern in patterns
    ]
    if not all(wanted):
        raise ModelError(f"{repo} has no {patterns[wanted.index([])]}", "it holds other models")
    return [name for group in wanted for name in group]


class _OfflineError(Exception):
    """The hub cannot be reached."""


def _ask(repo: str, request: Callable[[], Any]) -> Any:
    """A request to the hub, its errors in our words."""
    from huggingface_hub import errors

    try:
        return request()
    except (errors.RepositoryNotFoundError, errors.GatedRepoError) as error:
        gated = isinstance(error, errors.GatedRepoError)
        problem = "asks for its terms to be accepted" if gated else "is no repository of the hub"
        raise ModelError(
            f"{repo} {problem}, and no such folder exists",
            "check the name, or log in with `hf auth login`",
        ) from None
    except Exception as error:  # the hub's client passes on those of its transport
        if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
            raise
        text = str(error).strip().splitlines()
        raise _OfflineError(text[0][:200] if text else type(error).__name__) from None


def _check_space(repo: str, size: int) -> None:
    from huggingface_hub import constants

    cache = Path(constants.HF_HUB_CACHE).absolute()
    existing = next(folder for folder in (cache, *cache.parents) if folder.exists())
    free = shutil.disk_usage(existing).free
    if size > free:
        raise ModelError(
            f"{repo} has {size / 1e9:.2f} GB; {existing} has {free / 1e9:.2f} GB free",
            "free some space, or set HF_HOME to a folder on a larger disk",
        )


def _beginning(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(200)
