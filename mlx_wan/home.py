"""Where files live: `MLX_WAN_HOME`, by default `~/.mlx-wan`."""

import os
from pathlib import Path


def home() -> Path:
    """The folder for models and settings; not created here."""
    return expanded(os.environ.get("MLX_WAN_HOME") or "~/.mlx-wan")


def expanded(path: str | Path) -> Path:
    """The path with `~` replaced; as it is where that leads nowhere (an unknown user, no home)."""
    return Path(os.path.expanduser(path))  # noqa: PTH111  # pathlib's raises there


def models_folder() -> Path:
    """Converted models, one folder each; a model's folder name is its name."""
    return home() / "models"
