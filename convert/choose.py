"""From what a source holds to one model: experts, encoders, VAE and tokenizer that fit.

Nothing is guessed: what is missing, doubled or contradictory is refused with what was found.
"""

from dataclasses import dataclass
from pathlib import Path

from mlx_wan.errors import ModelError
from mlx_wan.models import TOKENIZERS
from mlx_wan.presets import Preset

from .discover import Discovery
from .experts import find_experts, find_preset, refuse_twins
from .families import FORMATS
from .parts import Part, Parts, find_parts
from .tokenizers import TokenizerFile, find_tokenizer


@dataclass(frozen=True)
class Model:
    """All parts of one model, by the names components have in a converted folder."""

    preset: Preset
    parts: dict[str, Part]
    tokenizer: TokenizerFile
    layout: str
    root: Path
    files: tuple[Path, ...]  # everything that was used


def choose(discovery: Discovery, model: str | None) -> Model:
    """The one model a source holds; `model` names the preset if there is a choice.

    Raises ModelError or BadFileError when there is none, several, or half of one; UsageError when
    it is not what `model` names.
    """
    found = find_parts(discovery)
    experts = find_experts(found, model)
    preset = find_preset(found, experts, model)
    refuse_twins(found, experts, preset)
    transformer = next(iter(experts.values()))
    parts = dict(experts)
    for name, (network, _) in preset.components.items():
        if name not in experts and network not in TOKENIZERS:
            parts[name] = _companion(found, name, network, transformer)
    tokenizer = find_tokenizer(found, preset, parts["text_encoder"])
    files = {file for part in parts.values() for file in part.found.checkpoint.files}
    folders = {file.parent for file in files}
    settings = {file for file in found.settings_files if file.parent in folders}
    layout = transformer.found.layout
    if layout in parts["text_encoder"].found.form.signatures and layout == "original":
        # ComfyUI has the original's names, but encoders in transformers'
        layout = "comfyui" if parts["text_encoder"].found.layout == "diffusers" else layout
    files |= settings | set(tokenizer.sources)
    return Model(preset, parts, tokenizer, layout, found.root, tuple(sorted(files)))


def _companion(found: Parts, name: str, network: str, transformer: Part) -> Part:
    """An encoder of a model, its VAE or what else is of latents: of its network, and as wide as the
    transformer wants."""
    what = FORMATS[network].what
    candidates = found.of(network)
    if name not in transformer.config.encoder_dims:
        wanted, fact = transformer.config.out_dim, "makes {} latent channels; the transformer has"
        widths = [part.config.z_dim for part in candidates]
    else:
        wanted, fact = (
            transformer.config.encoder_dims[name],
            "gives a width of {}; the transformer takes",
        )
        widths = [part.config.dim for part in candidates]
    fitting = [part for part, width in zip(candidates, widths, strict=True) if width == wanted]
    if candidates and not fitting:
        raise ModelError(
            f"{candidates[0].path} {fact.format(widths[0])} {wanted}",
            f"take transformer and {what} from one release",
        )
    return found.one(fitting, network)
