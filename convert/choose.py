"""From what a source holds to one model: experts, VAE, text encoder and tokenizer that fit.

Nothing is guessed: what is missing, doubled or contradictory is refused with what was found.
"""

from dataclasses import dataclass
from pathlib import Path

from mlx_wan.errors import BadFileError, ModelError
from mlx_wan.presets import Preset
from mlx_wan.tensorfile import read_tensor

from .discover import Discovery
from .experts import find_experts, find_preset, refuse_twins
from .parts import Part, Parts, find_parts

_MAX_TOKENIZER = 50_000_000


@dataclass(frozen=True)
class Model:
    """All parts of one model, by the names components have in a converted folder."""

    preset: Preset
    parts: dict[str, Part]
    tokenizer: bytes
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
    vae = _vae(found, preset, transformer)
    encoder = _text_encoder(found, transformer)
    tokenizer_file, tokenizer = _tokenizer(found, encoder)
    _check_tokenizer(tokenizer_file, tokenizer, encoder.config.vocab_size)
    parts = {**experts, "text_encoder": encoder, "vae": vae}
    files = {file for part in parts.values() for file in part.found.checkpoint.files}
    folders = {file.parent for file in files}
    settings = {file for file in found.settings_files if file.parent in folders}
    layout = transformer.found.layout
    if (layout, encoder.found.layout) == ("original", "diffusers"):
        layout = "comfyui"
    files |= settings | {tokenizer_file}
    return Model(preset, parts, tokenizer, layout, found.root, tuple(sorted(files)))


def _vae(found: Parts, preset: Preset, transformer: Part) -> Part:
    version = "2.2" if preset.components["vae"][0] == "wan_vae22" else "2.1"
    vae = found.one(found.of(f"wan_vae{version.replace('.', '')}"), f"Wan {version} VAE")
    if vae.config.z_dim != transformer.config.out_dim:
        raise ModelError(
            f"{vae.path} makes {vae.config.z_dim} latent channels; the transformer has "
            f"{transformer.config.out_dim}",
            "take transformer and VAE from one release",
        )
    return vae


def _text_encoder(found: Parts, transformer: Part) -> Part:
    encoders = found.of("umt5")
    width = transformer.config.text_dim
    fitting = [part for part in encoders if part.config.dim == width]
    if encoders and not fitting:
        raise ModelError(
            f"{encoders[0].path} gives texts a width of {encoders[0].config.dim}; the transformer "
            f"takes {width}",
            "take transformer and text encoder from one release",
        )
    return found.one(fitting, "UMT5 text encoder")


def _tokenizer(found: Parts, encoder: Part) -> tuple[Path, bytes]:
    """The SentencePiece model: from inside a ComfyUI text encoder, else spiece.model."""
    place = encoder.found.spiece
    if place is not None:
        if place.info.dtype not in ("U8", "I8") or place.info.nbytes > _MAX_TOKENIZER:
            raise BadFileError(f"{place.file} has a spiece_model that cannot be a tokenizer")
        return place.file, read_tensor(place.file, place.info).tobytes()
    paths = found.discovery.tokenizers
    for path in paths:
        if path.stat().st_size > _MAX_TOKENIZER:
            raise BadFileError(f"{path} is too large to be a tokenizer")
    versions = {path.read_bytes(): path for path in paths}
    if len(versions) > 1:
        names = " and ".join(found.discovery.relative(path) for path in versions.values())
        raise ModelError(f"{found.root} has different tokenizers: {names}", "keep the right one")
    for raw, path in versions.items():
        return path, raw
    only_json = any(path.name == "tokenizer.json" for path in found.discovery.unreadable)
    raise ModelError(
        f"{found.root} has no spiece.model" + (", and tokenizer.json is not read" * only_json),
        "copy spiece.model of google/umt5-xxl into it; every Wan release of the authors has it",
    )


def _check_tokenizer(file: Path, raw: bytes, vocab_size: int) -> None:
    import sentencepiece

    try:
        pieces = (
            sentencepiece.SentencePieceProcessor(model_proto=raw).get_piece_size() if raw else 0
        )
    except Exception:  # whatever its parser finds wrong
        pieces = 0
    if not pieces:
        raise BadFileError(f"{file} holds no SentencePiece model", "download it again")
    if pieces > vocab_size:
        raise ModelError(
            f"{file} has {pieces:,} pieces; the text encoder knows {vocab_size:,}",
            "take tokenizer and text encoder from one release",
        )
