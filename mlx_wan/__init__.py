"""mlx-wan: finished video on your own Mac, with open video models running natively in MLX.

Importing this package is cheap: the public names below load their module on first use.
"""

from importlib import import_module
from typing import Any

from .blas import arrange as _arrange_blas

__version__ = "0.1.0"

_arrange_blas()  # has to come before the first `import mlx.core`

_PUBLIC = {
    "MlxWanError": "errors",
    "Request": "request",
    "Plan": "plan",
    "make_plan": "planning",
    "open_model": "loading",
    "encode_prompt": "pipeline",
    "encode_image": "pipeline",
    "Experts": "pipeline",
    "start_noise": "pipeline",
    "denoise": "pipeline",
    "decode": "pipeline",
    "generate": "run",
    "save_video": "studio.video_io",
    "Wan22Generator": "api",
    "VideoConfig": "api",
    "VideoFormat": "api",
    "QualityProfile": "api",
    "BatchError": "api",
    "ModelRegistry": "registry.metadata",
    "ModelMetadata": "registry.metadata",
}

__all__ = ["__version__", *_PUBLIC]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_PUBLIC[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted(__all__)
