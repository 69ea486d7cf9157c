"""HunyuanVideo 1.5's latent upsamplers, which belong to its super resolution: the original's files,
and ComfyUI's copies of them."""

from collections.abc import Mapping
from typing import Any

from . import keys_hunyuan_upsampler
from .axes import Reorder, Shape, channels_last, channels_second, flat
from .format import NetworkFormat
from .settings import Settings, Shapes, count


def _to_720(shapes: Shapes, stored: Shapes, settings: Settings) -> dict[str, Any]:
    dim, *_, z_dim = shapes["in_conv.weight"]
    blocks = count(shapes, "blocks")
    settings.agree_all(
        {
            ("in_channels",): z_dim,
            ("out_channels",): z_dim,
            ("hidden_channels",): dim,
            ("num_blocks",): blocks,
        }
    )
    added = settings.values.get("global_residual", False)
    if not isinstance(added, bool):
        settings.refuse("global_residual", added, "true or false")
    return {"z_dim": z_dim, "dim": dim, "num_blocks": blocks, "global_residual": added}


def _to_1080(shapes: Shapes, stored: Shapes, settings: Settings) -> dict[str, Any]:
    z_dim = shapes["conv_in.weight"][-1]
    stages = range(count(shapes, "stages"))
    dims = [shapes[f"stages.{i}.0.conv1.weight"][0] for i in stages]
    blocks = count(shapes, "stages.0") - 1
    settings.agree_all(
        {
            ("z_channels",): z_dim,
            ("out_channels",): z_dim,
            ("block_out_channels",): dims,
            ("num_res_blocks",): blocks,
        }
    )
    return {"dims": tuple(dims), "z_dim": z_dim, "num_res_blocks": blocks}


def _order(name: str, shape: Shape, layout: str, settings: Mapping[str, Any]) -> Reorder:
    return flat(shape) if name.endswith(".gamma") else channels_last(shape)


def _shape(name: str, shape: Shape, layout: str, settings: Mapping[str, Any]) -> Shape:
    return (*shape, 1, 1, 1) if name.endswith(".gamma") else channels_second(shape)


TO_720 = NetworkFormat(
    network="hunyuan_upsampler_720",
    what="HunyuanVideo 1.5 latent upsampler for 720p",
    layouts=keys_hunyuan_upsampler.LAYOUTS,
    rows=keys_hunyuan_upsampler.to_720,
    signatures={"original": ("blocks.0.block.0.conv.weight",)},
    is_it=lambda names: "in_conv.conv.weight" in names,
    sizes=_to_720,
    telling=("hidden_channels", "global_residual"),
    reorder=_order,
    foreign_shape=_shape,
    as_published=True,
)
TO_1080 = NetworkFormat(
    network="hunyuan_upsampler_1080",
    what="HunyuanVideo 1.5 latent upsampler for 1080p",
    layouts=keys_hunyuan_upsampler.LAYOUTS,
    rows=keys_hunyuan_upsampler.to_1080,
    signatures={"original": ("up.0.block.0.conv1.conv.weight",)},
    is_it=lambda names: "conv_in.conv.weight" in names,
    sizes=_to_1080,
    telling=("z_channels",),
    reorder=_order,
    foreign_shape=_shape,
    as_published=True,
)
