"""What a checkpoint is, by the names of its tensors and never by the name of its file."""

from dataclasses import dataclass, replace

from mlx_wan.errors import BadFileError, ModelError
from mlx_wan.tensorfile import TensorInfo

from .discover import Checkpoint, Place
from .families import FORMATS, SUPPORTED, to_ours
from .float8 import take_scales
from .format import NetworkFormat

_LORA_PARTS = (".lora_", "lora_unet_", ".lokr_", ".hada_", ".diff_b", ".diff_m")
_STRANGERS = {
    "double_blocks.": "HunyuanVideo 1.0 or Flux",
    "transformer_blocks.": "LTX-Video or another transformer",
    "input_blocks.": "Stable Diffusion",
    "visual.": "CLIP",
}


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
    def form(self) -> NetworkFormat:
        return FORMATS[self.network]


def layouts_of(checkpoint: Checkpoint) -> dict[str, str]:
    """Network -> layout, of every network whose names these are. Several share T5's."""
    names = checkpoint.tensors.keys()
    found = {}
    for network, form in FORMATS.items():
        for layout, signs in form.signatures.items():
            if any(sign in names for sign in signs) and form.is_it(names):
                found[network] = layout
                break
    return found


def stranger(checkpoint: Checkpoint) -> str:
    """A few words on what a checkpoint is that is none of our networks."""
    for part, what in _STRANGERS.items():
        if any(part in name for name in checkpoint.tensors):
            return what
    return "unknown"


def is_lora(checkpoint: Checkpoint) -> bool:
    return any(
        name.endswith(".diff") or part in name
        for name in checkpoint.tensors
        for part in _LORA_PARTS
    )


def read_as(network: str, layout: str, checkpoint: Checkpoint) -> Network:
    """A checkpoint's tensors by our names.

    Raises ModelError or BadFileError when there are tensors that do not belong to the network.
    """
    form = FORMATS[network]
    for part, what in form.relatives.items():
        if any(part in name for name in checkpoint.tensors):
            raise ModelError(
                f"{checkpoint.path} is {what}; that is not supported", f"{SUPPORTED} supported"
            )
    shapes = {name: place.info.shape for name, place in checkpoint.tensors.items()}
    layout = form.layout(layout, shapes)
    if layout == "mlx-video" and any(name.endswith(".scales") for name in checkpoint.tensors):
        raise ModelError(
            f"{checkpoint.path} is quantised already; quantising again would lose quality",
            "convert the published checkpoint, or the mlx-video folder from before quantising",
        )
    tensors = dict(checkpoint.tensors)
    spiece = tensors.pop("spiece_model", None)
    scaled = take_scales(tensors)
    left_out = form.dropped(scaled.weights.keys())
    kept = {name: place for name, place in scaled.weights.items() if name not in left_out}
    ours = to_ours(network, layout, kept)
    left = [name for name in kept if name not in ours]
    if left:
        raise BadFileError(
            f"{checkpoint.path} has {len(left)} tensors that are no part of a {network}, "
            f"the first is {left[0][:80]!r}",
            f"{SUPPORTED} supported",
        )
    reasons = {**scaled.dropped, **left_out}
    return Network(
        network,
        layout,
        checkpoint,
        {
            name: _share(kept[theirs], index, len(names))
            for theirs, names in ours.items()
            for index, name in enumerate(names)
        },
        {name: scale for theirs, scale in scaled.scales.items() for name in ours.get(theirs, [])},
        {tensors[name].key: reason for name, reason in reasons.items()},
        spiece,
    )


def _share(place: Place, index: int, of: int) -> Place:
    """One of `of` equal shares of a tensor's rows, as a tensor of its own."""
    if of == 1:
        return place
    info = place.info
    rows = info.shape[0] if info.shape else 0
    if rows % of:
        raise BadFileError(
            f"{place.file} has {place.key} with {rows} rows, which {of} tensors cannot share"
        )
    if info.strides is not None:
        raise BadFileError(
            f"{place.file} stores {place.key} transposed", "use the safetensors file of the model"
        )
    size = info.nbytes // of
    start = info.start + index * size
    return replace(
        place, info=TensorInfo(info.dtype, (rows // of, *info.shape[1:]), start, start + size)
    )
