"""What is compared: a model, or a model with settings, in one small grammar.

VARIANT = MODEL [":" SETTING {"," SETTING}]         wan-mini:steps=8,solver=euler,guidance_scale=3
SETTING = NAME "=" VALUE                            guidance_scale.low_noise=3 is for one
MATRIX  = NAME "=" VALUE {"," VALUE}, several       steps=4,20 solver=unipc,euler
"""

import difflib
import itertools
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mlx_wan.errors import ModelError, UsageError
from mlx_wan.home import expanded, models_folder
from mlx_wan.loading import ModelFolder, find_model, installed_models, open_model
from mlx_wan.registry import known_models
from mlx_wan.settings import shown

IDS = "abcdefghijklmnopqrstuvwxyz"
PRECISIONS = (4, 6, 8, 16)  # 16: as published, nothing quantised
_QUANTIZED = re.compile(r"-[468]bit$")
_QUALITIES = ("auto", "high", "medium", "low")
GRAMMAR = (
    "MODEL or MODEL:NAME=VALUE,NAME=VALUE as in wan-mini:steps=8,solver=euler,guidance_scale=3"
)


def _integer(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise ValueError("a whole number")
    return int(text)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError("a number") from None


def _one_of(*names: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in names:
            raise ValueError(
                " or ".join([", ".join(names[:-1]), names[-1]] if names[1:] else names)
            )
        return text

    return parse


def _quant(text: str) -> int:
    if text not in map(str, PRECISIONS):
        raise ValueError("4, 6 or 8 bits, or 16 for weights that are not quantised")
    return int(text)


def _solver(text: str) -> str:
    from mlx_wan.sampling import SOLVERS

    return _one_of(*SOLVERS)(text)


SETTINGS: dict[str, Callable[[str], Any]] = {
    "steps": _integer,
    "solver": _solver,
    "shift": _number,
    "guidance_scale": _number,
    "quality": _one_of(*_QUALITIES),
    "quant": _quant,
    "cache": _one_of("off"),
    "lora": _one_of("off"),
    "engine": _one_of("mlx"),
}
_NOT_BUILT = {"cache": "step caches", "lora": "LoRA files", "engine": "other engines"}


@dataclass(frozen=True)
class Spec:
    """A variant as it was written: `settings` by name, "guidance_scale.EXPERT" among them."""

    model: str
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """How it is written."""
        if not self.settings:
            return self.model
        return f"{self.model}:" + ",".join(f"{k}={_text(v)}" for k, v in self.settings.items())


@dataclass(frozen=True)
class Variant:
    """One side of the comparison, its model found; `id` is "a", "b", "c", ..."""

    id: str
    spec: Spec
    folder: ModelFolder

    @property
    def label(self) -> str:
        return self.spec.label


def parse_variant(text: str) -> Spec:
    """Read one variant. Raises UsageError saying what exists."""
    model, colon, rest = text.rpartition(":")
    if not colon or expanded(text).is_dir():
        model, rest = text, ""
    if not model or ("=" in model and not expanded(model).is_dir()):
        raise UsageError(f"the variant {shown(text)} names no model", f"accepted: {GRAMMAR}")
    if colon and not rest and model != text:
        raise UsageError(f"the variant {shown(text)} has no setting after ':'", GRAMMAR)
    settings: dict[str, Any] = {}
    for part in rest.split(",") if rest else ():
        name, equals, value = (word.strip() for word in part.partition("="))
        if not equals or not value:
            raise UsageError(f"the variant {shown(text)} has {shown(part)}", f"accepted: {GRAMMAR}")
        name, parsed = parse_setting(name, value)
        if name in settings:
            raise UsageError(f"the variant {shown(text)} says {name} twice", "say it once")
        settings[name] = parsed
    return Spec(model, settings)


def parse_setting(name: str, text: str) -> tuple[str, Any]:
    """Name and value of one setting, checked. Raises UsageError naming what exists."""
    base, _, expert = name.partition(".")
    if base == "guidance":
        base = "guidance_scale"
    if base not in SETTINGS or (expert and base != "guidance_scale"):
        if base in ("seed", "seeds", "prompt", "width", "height", "num_frames", "fps"):
            hint = f"it is the same for all variants: --{base.replace('_', '-')}"
            raise UsageError(f"{name} is no setting of a variant", hint.replace("seed", "seeds", 1))
        near = difflib.get_close_matches(base, SETTINGS, n=1)
        guess = f"did you mean {near[0]}? " if near else ""
        raise UsageError(
            f"{shown(name)} is no setting of a variant", f"{guess}there are: {', '.join(SETTINGS)}"
        )
    try:
        value = SETTINGS[base](text)
    except ValueError as error:
        if base in _NOT_BUILT:
            raise UsageError(
                f"{base}={text}: {_NOT_BUILT[base]} are not built yet", f"accepted: {base}={error}"
            ) from None
        raise UsageError(f"{name} is {shown(text)}", f"accepted: {error}") from None
    return (f"{base}.{expert}" if expert else base), value


def parse_matrix(words: Sequence[str]) -> list[dict[str, Any]]:
    """`["steps=4,20", "solver=unipc,euler"]` -> the settings of all four cells."""
    axes: dict[str, list[Any]] = {}
    for word in words:
        name, equals, values = word.partition("=")
        if not equals or not values:
            raise UsageError(
                f"matrix has {shown(word)}", "accepted: NAME=VALUE,VALUE as in steps=4,20"
            )
        parsed = [parse_setting(name.strip(), value.strip()) for value in values.split(",")]
        name = parsed[0][0]
        if name in axes or len({value for _, value in parsed}) < len(parsed):
            raise UsageError(f"matrix says {name} twice", f"write it once: {name}=4,20")
        axes[name] = [value for _, value in parsed]
    cells = itertools.product(*axes.values())
    return [dict(zip(axes, cell, strict=True)) for cell in cells]


def build_variants(
    texts: Sequence[str], matrix: Sequence[str] = (), defaults: Mapping[str, Any] | None = None
) -> list[Variant]:
    """The variants "a", "b", ...: every text in every cell of the matrix.

    `defaults` are settings for those that do not say them. Raises UsageError or ModelError.
    """
    cells = parse_matrix(matrix)
    specs = []
    for spec in map(parse_variant, texts):
        for cell in cells:
            if both := cell.keys() & spec.settings.keys():
                raise UsageError(
                    f"{min(both)} is in the variant {spec.label} and in the matrix",
                    "say it in one of them",
                )
            specs.append(Spec(spec.model, spec.settings | cell))
    if len(specs) < 2:
        raise UsageError(
            "there is only one variant", "give a second one, or --matrix as in steps=4,20"
        )
    if len(specs) > len(IDS):
        raise UsageError(
            f"these are {len(specs)} variants", f"accepted: up to {len(IDS)}; use fewer values"
        )
    return [_found(id, spec, defaults or {}) for id, spec in zip(IDS, specs, strict=False)]


def request_settings(spec: Spec, defaults: Mapping[str, Any]) -> dict[str, Any]:
    """The settings by the names of a Request, besides "quality"; the variant's own ones win."""
    settings = {k: v for k, v in defaults.items() if v is not None}
    if any(name.startswith("guidance_scale") for name in spec.settings):
        settings = {k: v for k, v in settings.items() if not k.startswith("guidance_scale")}
    settings |= spec.settings
    values = {k: v for k, v in settings.items() if k in ("steps", "solver", "shift", "quality")}
    scales = {k.split(".")[1]: v for k, v in settings.items() if k.startswith("guidance_scale.")}
    if scales and "guidance_scale" in settings:
        raise UsageError(
            f"{spec.label} has guidance_scale for all experts and for one",
            "as in guidance_scale.high_noise=4,guidance_scale.low_noise=3",
        )
    if scales or "guidance_scale" in settings:
        values["guidance_scale"] = scales or settings["guidance_scale"]
    return values


def precision(folder: ModelFolder) -> int:
    """Bits of the experts' weights: 4, 6 or 8, or 16 for what is not quantised."""
    quantization = folder[folder.preset.experts[0].name].quantization
    return quantization["bits"] if quantization else 16


def _found(id: str, spec: Spec, defaults: Mapping[str, Any]) -> Variant:
    folder = open_model(find_model(spec.model))
    wanted = spec.settings.get("quant", defaults.get("quant"))
    if wanted is not None and precision(folder) != wanted:
        folder = _in_precision(folder, wanted)
    return Variant(id, spec, folder)


def _in_precision(folder: ModelFolder, bits: int) -> ModelFolder:
    """The same model converted otherwise: NAME, or NAME-8bit and the like, in the models folder.

    By its name, as other weights may have the same architecture and preset.
    """
    name = _QUANTIZED.sub("", folder.path.name)
    wanted = name if bits == 16 else f"{name}-{bits}bit"
    if wanted in installed_models():
        other = open_model(models_folder() / wanted)
        if other.preset.id == folder.preset.id and precision(other) == bits:
            return other
    known = known_models().get(name)
    source = (known and known.source.repo) or "SOURCE"  # a folder of one's own, or wan-mini
    flag = "" if bits == 16 else f" --quantize {bits}"
    raise ModelError(
        f"{folder.path.name} is in {precision(folder)} bits, and there is no {wanted} in {bits} "
        f"bits in {models_folder()}",
        f"mlx-wan convert {source} {shlex.quote(str(models_folder() / wanted))}{flag}",
    )


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
