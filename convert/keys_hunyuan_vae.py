"""Tensor names of HunyuanVideo 1.5's VAE: ours, the original release's and diffusers', as names.py
reads them. ComfyUI's file has the original names.

Reference: Tencent-Hunyuan/HunyuanVideo-1.5, hyvideo/models/autoencoders/hunyuanvideo_15_vae.py, and
diffusers' converter of it.
"""

from .names import Names, Row, Rows, inside

LAYOUTS = ("ours", "original", "diffusers")

_RESIDUAL: list[Row] = [
    ("norm1.gamma", "norm1.gamma", "norm1.gamma"),
    ("conv1.*", "conv1.conv.*", "conv1.conv.*"),
    ("norm2.gamma", "norm2.gamma", "norm2.gamma"),
    ("conv2.*", "conv2.conv.*", "conv2.conv.*"),
]
_ATTENTION: list[Row] = [
    ("norm.gamma", "norm.gamma", "norm.gamma"),
    ("q.*", "q.*", "to_q.*"),
    ("k.*", "k.*", "to_k.*"),
    ("v.*", "v.*", "to_v.*"),
    ("proj_out.*", "proj_out.*", "proj_out.*"),
]
# inside the encoder as inside the decoder
_ENDS: list[Row] = [
    ("conv_in.*", "conv_in.conv.*", "conv_in.conv.*"),
    ("head.norm.gamma", "norm_out.gamma", "norm_out.gamma"),
    ("head.conv.*", "conv_out.conv.*", "conv_out.conv.*"),
]


def vae(names: Names) -> Rows:
    """Rows of the VAE."""
    rows: list[Row] = []
    for half, side in (("encoder", "down"), ("decoder", "up")):
        stage, theirs = f"{half}.{side}.N", f"{half}.{side}_blocks.N"
        rows += inside((half, half, half), _ENDS)
        rows += inside((f"{stage}.blocks.M", f"{stage}.block.M", f"{theirs}.resnets.M"), _RESIDUAL)
        rows.append(
            (
                f"{stage}.resample.conv.*",
                f"{stage}.{side}sample.conv.conv.*",
                f"{theirs}.{side}samplers.0.conv.conv.*",
            )
        )
        ours, original, theirs = f"{half}.middle", f"{half}.mid", f"{half}.mid_block"
        rows += inside((f"{ours}.0", f"{original}.block_1", f"{theirs}.resnets.0"), _RESIDUAL)
        rows += inside((f"{ours}.1", f"{original}.attn_1", f"{theirs}.attentions.0"), _ATTENTION)
        rows += inside((f"{ours}.2", f"{original}.block_2", f"{theirs}.resnets.1"), _RESIDUAL)
    return tuple(rows)
