"""A model as its authors published it, as a folder without files: it can be planned, not run.

Sizes are counted from its networks' shapes, so nothing has to be downloaded for it.
"""

import json
import re
from dataclasses import replace
from typing import Any

from .errors import ModelError
from .home import models_folder
from .loading import Component, ModelFolder, find_model, new_network, open_model
from .models import TOKENIZERS
from .plan import Plan
from .presets import PRESETS, Preset

_PUBLISHED = "published-"  # begins the fingerprint; then bits of a weight
_GROUP_SIZE = 64
# as `mlx-wan convert --quantize` does it: matrices of the blocks, without modulation and tables
_NOT_QUANTIZED = re.compile(r"\.(mod\w*|pos_embedding)\.")


def planning_folder(name: str | None, bits: int | None = None) -> ModelFolder:
    """The model of this name to plan with: converted, or else as published.

    `bits` asks for the published one with its large matrices quantised. Raises what `find_model`
    and `open_model` raise, ModelError where nothing is known of a quantised one.
    """
    if bits is None:
        try:
            return open_model(find_model(name))
        except ModelError:
            if name not in PRESETS or (models_folder() / name).exists():
                raise
    if name not in PRESETS:
        raise ModelError(
            f"what {name or 'the default model'} is in {bits} bits is not known",
            f"give --model with one of: {', '.join(PRESETS)}",
        )
    return published_folder(PRESETS[name], bits)


def published_folder(preset: Preset, bits: int | None = None) -> ModelFolder:
    """The networks of a preset with the sizes they were published with, in 16 bits or fewer."""
    components = {}
    for name, (network, changes) in preset.components.items():
        config = json.loads(json.dumps(dict(changes)))  # as a config.json has it
        made = Component(name, network, config, "bfloat16", None, (), 0)
        components[name] = made if network in TOKENIZERS else _counted(made, bits)
    path = models_folder() / preset.id
    return ModelFolder(path, preset, components, f"{_PUBLISHED}{bits or 16}")


def is_published(folder: ModelFolder) -> bool:
    """Whether a folder is without files, and so only for planning."""
    return folder.fingerprint.startswith(_PUBLISHED)


def folder_of(plan: Plan) -> ModelFolder:
    """The folder a plan was made for."""
    if not plan.model_fingerprint.startswith(_PUBLISHED):
        return open_model(plan.model_path)
    bits = int(plan.model_fingerprint.removeprefix(_PUBLISHED))
    return published_folder(PRESETS[plan.model], None if bits == 16 else bits)


def _counted(component: Component, bits: int | None) -> Component:
    """The component with the bytes its file would have. VAEs are published, and kept, in 32 bits;
    only transformers and text encoders are quantised."""
    from mlx.utils import tree_flatten

    network = new_network(component)  # its arrays are never evaluated
    tensors: dict[str, Any] = dict(tree_flatten(network.parameters()))
    is_vae = component.name == "vae"
    quantized = bits is not None and not is_vae and component.name != "image_encoder"
    nbytes = 0.0
    for name, value in tensors.items():
        if quantized and bits is not None and _is_quantized(name, value.shape):
            nbytes += value.size * (bits / 8 + 2 * 2 / _GROUP_SIZE)  # codes, scales and biases
        else:
            nbytes += value.size * (4 if is_vae else 2)
    return replace(
        component,
        dtype="float32" if is_vae else "bfloat16",
        quantization={"bits": bits, "group_size": _GROUP_SIZE} if quantized and bits else None,
        nbytes=int(nbytes),
        tensors=len(tensors),
    )


def _is_quantized(name: str, shape: tuple[int, ...]) -> bool:
    in_a_block = any(part.isdigit() for part in name.split("."))
    is_matrix = name.endswith(".weight") and len(shape) == 2 and shape[1] % _GROUP_SIZE == 0
    return in_a_block and is_matrix and not _NOT_QUANTIZED.search(name)
