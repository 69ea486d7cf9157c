"""The config of a network from its tensors, and the tensors a config calls for.

Whatever a shape tells is taken from the shape. A `config.json` beside it adds what shapes cannot
tell (heads, text length, epsilons) and must not contradict them.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict
from importlib import import_module
from typing import Any

from mlx_wan.errors import BadFileError, MlxWanError
from mlx_wan.models import NETWORKS
from mlx_wan.settings import network_settings

from .axes import Shape
from .families import FORMATS
from .settings import Settings, Shapes


def network_config(
    network: str, shapes: Shapes, stored: Shapes, settings: Mapping[str, Any], where: str
) -> Any:
    """The config dataclass of a network.

    `shapes` are the tensors by our names and in our axis order, `stored` as they are in the file.
    `settings` is the config.json beside the checkpoint or {}; `where` names it in messages.
    """
    try:
        values = FORMATS[network].sizes(shapes, stored, Settings(settings, where))
    except (KeyError, IndexError, ValueError, ZeroDivisionError) as error:
        what = f"no {error.args[0]}" if isinstance(error, KeyError) else str(error)
        raise BadFileError(
            f"{where} is no complete {network}: {what}",
            "it may be half a download, or another model",
        ) from None
    module, config_class, _ = NETWORKS[network]
    try:
        config = getattr(import_module(f"mlx_wan.models.{module}"), config_class)(**values)
        # within the bounds that the converted folder is held to whenever it is opened
        network_settings(network, type(config), json.loads(json.dumps(asdict(config))))
        return config
    except MlxWanError as error:  # neither knows the file
        raise BadFileError(f"{where}: {error.message}", error.hint) from None


def expected_shapes(network: str, config: Any) -> dict[str, Shape]:
    """Every tensor of the network of this config, in our names and axis order."""
    from mlx.utils import tree_flatten

    module, _, network_class = NETWORKS[network]
    built: Any = getattr(import_module(f"mlx_wan.models.{module}"), network_class)(config)
    parameters: Any = tree_flatten(built.parameters())
    return {name: tuple(value.shape) for name, value in parameters}


def config_from_json(network: str, values: Mapping[str, Any]) -> Any:
    """The config dataclass from a converted config.json, where tuples are lists."""
    module, config_class, _ = NETWORKS[network]
    known = {name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}
    return getattr(import_module(f"mlx_wan.models.{module}"), config_class)(**known)
