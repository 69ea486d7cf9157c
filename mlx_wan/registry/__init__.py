"""Which models there are, which one is the default, and why: `registry.json` in MLX_WAN_HOME.

The first real model that is converted into the models folder becomes the active one. From then on
a missing model is an error; the embedded one is no longer put in its place. Another one takes its
place when a comparison found it better (`promotion`); `status` says what there is of each.
"""

from .catalogue import KnownModel, known_models
from .content import Registry
from .recording import (
    active_model,
    add_model,
    all_models,
    downloaded,
    find_known,
    record_ab_report,
    record_benchmark,
    record_downloads,
    record_installed,
    remove_model,
    set_active,
)
from .store import change_registry, read_registry, registry_file, repair

__all__ = [
    "KnownModel",
    "Registry",
    "active_model",
    "add_model",
    "all_models",
    "change_registry",
    "downloaded",
    "find_known",
    "known_models",
    "read_registry",
    "record_ab_report",
    "record_benchmark",
    "record_downloads",
    "record_installed",
    "registry_file",
    "remove_model",
    "repair",
    "set_active",
]
