"""Tensor names of HunyuanVideo 1.5's latent upsamplers: ours and the original release's, as
names.py reads them. ComfyUI's files have the original names.

Reference: Tencent-Hunyuan/HunyuanVideo-1.5, hyvideo/models/transformers/modules/upsample.py.
"""

from .names import Names, Row, Rows, inside

LAYOUTS = ("ours", "original")

_TO_720: Rows = (
    ("in_conv.*", "in_conv.conv.*"),
    *inside(
        ("blocks.N", "blocks.N.block"),
        [("conv1.*", "0.conv.*"), ("conv2.*", "2.conv.*"), ("conv3.*", "4.conv.*")],
    ),
    ("out_conv.*", "out_conv.conv.*"),
)
_RESIDUAL: list[Row] = [
    ("norm1.gamma", "norm1.gamma"),
    ("conv1.*", "conv1.conv.*"),
    ("norm2.gamma", "norm2.gamma"),
    ("conv2.*", "conv2.conv.*"),
    ("shortcut.*", "nin_shortcut.*"),  # where the width changes
]
_TO_1080: Rows = (
    ("conv_in.*", "conv_in.conv.*"),
    *inside(("stages.N.M", "up.N.block.M"), _RESIDUAL),
    ("head.norm.gamma", "norm_out.gamma"),
    ("head.conv.*", "conv_out.conv.*"),
)


def to_720(names: Names) -> Rows:
    """Rows of the network for 720p."""
    return _TO_720


def to_1080(names: Names) -> Rows:
    """Rows of the network for 1080p."""
    return _TO_1080
