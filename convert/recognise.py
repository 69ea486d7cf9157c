"""What a checkpoint is, by the names of its tensors and never by the name of its file."""

from collections.abc import Collection
from dataclasses import dataclass

from mlx_wan.errors import BadFileError, ModelError

from . import keys
from .discover import Checkpoint, Place
from .float8 import take_scales

# (network, layout, names of which one is enough to tell)
_SIGNATURES = (
    ("wan_transformer", "mlx-video", ("patch_embedding_proj.weight",)),
    ("wan_transformer", "diffusers", ("condition_embedder.time_proj.weight", "scale_shift_table")),
    ("wan_transformer", "original", ("head.modulation", "blocks.0.modulation")),
    ("umt5", "mlx-video", ("blocks.0.ffn.gate_proj.weight",)),
    ("umt5", "original", ("blocks.0.ffn.gate.0.weight",)),
    ("umt5", "diffusers", ("encoder.block.0.layer.1.DenseReluDense.wi_0.weight",)),
    ("wan_vae22", "original", ("decoder.upsamples.0.upsamples.0.residual.2.weight",)),
    ("wan_vae22", "mlx-video", ("decoder.upsamples.0.upsamples.0.residual.layer_2.weight",)),
    ("wan_vae22", "diffusers", ("decoder.up_blocks.0.upsampler.resample.1.weight",)),
    ("wan_vae21", "original", ("decoder.upsamples.0.residual.2.weight",)),
    ("wan_vae21", "diffusers", ("decoder.up_blocks.0.upsamplers.0.resample.1.weight",)),
)
_LORA_PARTS = (".lora_", "lora_unet_", ".lokr_", ".hada_", ".diff_b", ".diff_m")
# transformers of the Wan family that are not built here, by a part of a name only they have
_RELATIVES = {
    "vace_blocks.": "Wan VACE",
    "face_adapter.": "Wan Animate",
    "motion_encoder.": "Wan Animate",
    "casual_audio_encoder.": "Wan S2V (speech to video)",
    "audio_injector.": "Wan S2V (speech to video)",
    "audio_proj.": "MultiTalk or InfiniteTalk on Wan",
    "control_adapter.": "Wan Fun Camera",
    "ref_conv.": "Wan Fun Control",
    ".add_k_proj.": "Wan 2.1 image to video, which needs a CLIP image encoder",
    ".cross_attn.k_img.": "Wan 2.1 image to video, which needs a CLIP image encoder",
    "img_emb.": "Wan 2.1 image to video, which needs a CLIP image encoder",
    "image_embedder.": "Wan 2.1 image to video, which needs a CLIP image encoder",
    ".proj_l.": "TurboWan with sparse-linear attention",
}
_STRANGERS = {
    "double_blocks.": "HunyuanVideo or Flux",
    "transformer_blocks.": "LTX-Video or another transformer",
    "input_blocks.": "Stable Diffusion",
    "visual.": "CLIP",
}
SUPPORTED = "Wan 2.2 T2V-A14B, I2V-A14B and TI2V-5B, and Wan 2.1 T2V-1.3B are"


@dataclass(frozen=True)
class Network:
    """A checkpoint known to be one of our networks. Tensors are listed by our names."""

    network: str
    layout: str
    checkpoint: Checkpoint
    tensors: dict[str, Place]
    scales: dict[str, float]  # of float8 weights
    dropped: dict[str, str]  # full foreign name -> reason
    spiece: Place | None = None  # ComfyUI keeps the tokenizer inside the text encoder

    @property
    def dtypes(self) -> set[str]:
        return {place.info.dtype for place in self.tensors.values()}


def recognise(checkpoint: Checkpoint) -> Network | str:
    """The network a checkpoint is, or a few words on what it is instead.

    Raises ModelError or BadFileError for a network of ours with tensors that do not belong to it.
    """
    names = checkpoint.tensors.keys()
    if any(name.endswith(".diff") or part in name for name in names for part in _LORA_PARTS):
        return "a LoRA"
    for network, layout, signs in _SIGNATURES:
        if any(sign in names for sign in signs):
            if network == "umt5" and _is_plain_t5(names):
                return "a T5 text encoder, not UMT5"
            return _network(network, layout, checkpoint)
    for part, what in _STRANGERS.items():
        if any(part in name for name in names):
            return what
    return "unknown"


def _is_plain_t5(names: Collection[str]) -> bool:
    """T5 has one table of position biases, UMT5 one in every layer."""
    second = "encoder.block.1.layer.0.SelfAttention."
    return f"{second}q.weight" in names and f"{second}relative_attention_bias.weight" not in names


def _network(network: str, layout: str, checkpoint: Checkpoint) -> Network:
    if network == "wan_transformer":
        _refuse_relatives(checkpoint)
    if layout == "original" and network == "wan_vae21" and _channels_last(checkpoint):
        layout = "mlx-video"
    if layout == "mlx-video" and any(name.endswith(".scales") for name in checkpoint.tensors):
        raise ModelError(
            f"{checkpoint.path} is quantised already; quantising again would lose quality",
            "convert the published checkpoint, or the mlx-video folder from before quantising",
        )
    tensors = dict(checkpoint.tensors)
    spiece = tensors.pop("spiece_model", None) if network == "umt5" else None
    scaled = take_scales(tensors)
    ours = keys.to_ours(network, layout, scaled.weights)
    dropped = {tensors[name].key: reason for name, reason in scaled.dropped.items()}
    for name, reason in keys.DROPPED[network].items():
        if name in scaled.weights and name not in ours:
            dropped[tensors[name].key] = reason
    if network == "umt5" and "shared.weight" not in tensors:
        ours |= {n: "token_embedding.weight" for n in tensors if n == "encoder.embed_tokens.weight"}
        dropped.pop("encoder.embed_tokens.weight", None)
    left = [n for n in scaled.weights if n not in ours and tensors[n].key not in dropped]
    if left:
        raise BadFileError(
            f"{checkpoint.path} has {len(left)} tensors that are no part of a {network}, "
            f"the first is {left[0][:80]!r}",
            f"{SUPPORTED} supported",
        )
    return Network(
        network,
        layout,
        checkpoint,
        {ours[name]: place for name, place in scaled.weights.items() if name in ours},
        {ours[name]: value for name, value in scaled.scales.items()},
        dropped,
        spiece,
    )


def _refuse_relatives(checkpoint: Checkpoint) -> None:
    for part, what in _RELATIVES.items():
        if any(part in name for name in checkpoint.tensors):
            raise ModelError(
                f"{checkpoint.path} is {what}; that is not supported", f"{SUPPORTED} supported"
            )


def _channels_last(checkpoint: Checkpoint) -> bool:
    """mlx-video keeps the names of the 2.1 VAE but stores (O, kt, kh, kw, I)."""
    place = checkpoint.tensors.get("decoder.middle.0.residual.2.weight")
    shape = place.info.shape if place else ()
    return len(shape) == 5 and shape[1:4] == (3, 3, 3) and shape[4] == shape[0] != 3
