"""Where files live: `MLX_WAN_HOME`, by default `~/.mlx-wan`."""

import os
from pathlib import Path


def home() -> Path:
    """The folder for models and settings; not created here."""
    return Path(os.environ.get("MLX_WAN_HOME") or "~/.mlx-wan").expanduser()


def models_folder() -> Path:
    """Converted models, one folder each; a model's folder name is its name."""
    return home() / "models"
