"""A finished video's plan: every shot's plan, and how picture, words and file are made of them.

Frozen, printed by `--dry-run`, and stored in the record, from which the same video is made again.
"""

import hashlib
import json
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from mlx_wan.errors import MemoryPlanError, UsageError
from mlx_wan.loading import Component, find_model, open_model
from mlx_wan.memory import format_bytes
from mlx_wan.plan import Plan, spacing
from mlx_wan.planning import replan
from mlx_wan.presets import EMBEDDED
from mlx_wan.record import read_record_plan
from mlx_wan.request import MAX_SEED, Request
from mlx_wan.settings import has_type

from .brand import Brand
from .forecast import forecast, spoken
from .names import file_stem
from .overlay import Overlay
from .profiles import Choice, Profile
from .resize import crop_loss
from .retime import INTERPOLATIONS
from .shots import ClipPlan, clip_keys, plan_shots
from .storyboard import Storyboard
from .video_io import X264_PRESETS
from .work import unfinished_seed

_SMALLER = "try --quality low, the model converted with --quantize 8, or a smaller model"
_MUCH = 0.05  # of an image's side
ENGINE_SETTINGS = ("negative_prompt", "steps", "guidance_scale", "shift", "solver")


@dataclass(frozen=True)
class Production:
    """Everything that decides a finished video. `shots` has the clips of each shot.

    `reason` says why this profile; `stretch` how much slower than rendered the clips are played;
    `output` None is a free name made from `stem` in the library. `text_encoder_bits` are those of
    the converted model, which has one text encoder whatever the profile would take.
    """

    storyboard: Storyboard
    shots: tuple[tuple[ClipPlan, ...], ...]
    profile: Profile
    reason: str
    seed: int
    brand: Brand | None
    stretch: float = 1.0
    interpolate: str = "motion"
    debug_safe_zones: bool = False
    output: str | None = None
    stem: str = "video"
    tags: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    text_encoder_bits: int | None = None

    @property
    def plans(self) -> list[Plan]:
        """The runs of the model, in order."""
        return [clip.plan for clips in self.shots for clip in clips]

    @property
    def key(self) -> str:
        """The same for productions that render the same but for the seed."""
        return _key(self.shots)

    def recorded(self) -> dict[str, Any]:
        """The part of a record from which `recorded_production` makes the same again."""
        return {
            "storyboard": self.storyboard.to_dict(),
            "production": self._settings(),
            "plans": [plan.to_dict() for plan in self.plans],
        }

    def _settings(self) -> dict[str, Any]:
        return {
            "profile": asdict(self.profile),
            "reason": self.reason,
            "seed": self.seed,
            "brand": None if self.brand is None else self.brand.to_dict(),
            "stretch": self.stretch,
            "interpolate": self.interpolate,
            "text_encoder_bits": self.text_encoder_bits,
            "debug_safe_zones": self.debug_safe_zones,
            "stem": self.stem,
            "first_frames": [[clip.first_frame for clip in clips] for clips in self.shots],
        }


def make_production(
    storyboard: Storyboard,
    *,
    choice: Choice,
    model: str | None = None,
    seed: int | None = None,
    brand: Brand | None = None,
    settings: Mapping[str, Any] | None = None,
    interpolate: str = "motion",
    debug_safe_zones: bool = False,
    output: str | None = None,
    stem: str | None = None,
    tags: tuple[str, ...] = (),
    memory_limit: int | None = None,
) -> Production:
    """Plan a finished video and check all that can be checked before the work.

    `settings` are the names of ENGINE_SETTINGS a person gave. Without a seed, a video that was
    begun and not finished is taken up again, else the seed is random. Raises UsageError for text
    that does not fit and for what the model cannot do, and what `make_plan` raises.
    """
    if interpolate not in INTERPOLATIONS:
        raise UsageError(
            f"interpolate is {interpolate!r}", f"accepted: {', '.join(INTERPOLATIONS)}"
        )
    Request("a seed", seed=seed)  # checks it
    folder = open_model(find_model(model))
    profile = choice.profile
    try:
        shots = plan_shots(
            storyboard,
            folder,
            area=profile.area,
            steps=profile.steps,
            seed=0,
            settings=dict(settings or {}) | {"model": model},
            memory_limit=memory_limit,
        )
    except MemoryPlanError as error:  # its hint names flags a finished video does not have
        raise MemoryPlanError(error.message, _SMALLER) from None
    notes = [note for clips in shots for clip in clips for note in clip.plan.notes]
    notes = list(dict.fromkeys([*notes, *_cut_images(storyboard, shots[0][0].plan)]))
    if seed is None:
        seed = unfinished_seed(_key(shots))
        if seed is not None:
            notes.append(f"goes on with the unfinished video of seed {seed}")
    seed = secrets.randbelow(2**32) if seed is None else seed
    Overlay(storyboard, brand, debug_safe_zones)  # text that does not fit is told now
    return Production(
        storyboard=storyboard,
        shots=_seeded(shots, seed),
        profile=profile,
        reason=choice.reason,
        seed=seed,
        brand=brand,
        stretch=folder.preset.stretch,
        interpolate=interpolate,
        debug_safe_zones=debug_safe_zones,
        output=output,
        stem=stem or storyboard.name or file_stem(storyboard.title or storyboard.shots[0].prompt),
        tags=tags,
        notes=tuple(notes),
        text_encoder_bits=stored_bits(folder["text_encoder"]),
    )


def recorded_production(
    record: dict[str, Any],
    *,
    model: str | None = None,
    output: str | None = None,
    memory_limit: int | None = None,
) -> Production:
    """The production a record tells of, checked against its model and this machine.

    Raises UsageError when the record was damaged, ModelError when the model is not there.
    """
    storyboard = Storyboard.from_dict(record.get("storyboard"))
    about = record["production"]
    try:
        plans = [
            replan(read_record_plan(record | {"plan": plan}), model, None, memory_limit)
            for plan in record["plans"]
        ]
        remaining = iter(plans)
        shots = tuple(
            tuple(ClipPlan(next(remaining), _first_frame(kind)) for kind in kinds)
            for kinds in about["first_frames"]
        )
        if len(shots) != len(storyboard.shots) or next(remaining, None) is not None:
            raise ValueError("it has other clips than shots")
        if any(not clips or clips[0].first_frame == "previous" for clips in shots):
            raise ValueError("a shot has no first clip")
        Request("a seed", seed=about["seed"])  # checks it
        production = Production(
            storyboard=storyboard,
            shots=shots,
            profile=_profile(about["profile"]),
            reason=str(about["reason"]),
            seed=about["seed"],
            brand=None if about["brand"] is None else Brand(**about["brand"]),
            stretch=float(about["stretch"]),
            interpolate=str(about["interpolate"]),
            debug_safe_zones=about["debug_safe_zones"] is True,
            output=output,
            stem=file_stem(str(about["stem"])),
            text_encoder_bits=stored_bits(open_model(plans[0].model_path)["text_encoder"]),
        )
    except (KeyError, TypeError, ValueError, OverflowError, StopIteration, RuntimeError) as error:
        raise UsageError(f"the record's production is damaged: {error}", "it was changed") from None
    if production.interpolate not in INTERPOLATIONS or not 0.01 <= production.stretch <= 100:
        raise UsageError("the record's production is damaged", "it was changed")
    Overlay(storyboard, production.brand, production.debug_safe_zones)
    return production


def describe_production(production: Production) -> list[tuple[str, str]]:
    """The production as (label, text) rows for people."""
    board, form = production.storyboard, production.storyboard.format
    first, plans = production.plans[0], production.plans
    clips_text = "1 clip" if len(plans) == 1 else f"{len(plans)} clips"
    rows = [
        ("video", f"{form.title}, {form.width}x{form.height} at {form.fps} fps"),
        ("length", f"{board.duration:g} s, {board.num_frames} frames"),
        ("quality", f"{production.profile.name}: {production.reason}"),
        ("model", f"{first.model} ({first.model_path})"),
        ("rendered", f"{first.width}x{first.height} at {first.fps} fps, {clips_text}"),
        ("text encoder", _encoder_row(production)),
        ("sampling", f"{first.solver}, {first.steps} steps, {spacing(first)}"),
        ("seed", str(production.seed)),
        ("brand", production.brand.name if production.brand else "(none)"),
    ]
    for number, (shot, clips) in enumerate(zip(board.shots, production.shots, strict=True), 1):
        frames = "+".join(str(clip.plan.num_frames) for clip in clips)
        image = f", from {shot.image}" if shot.image else ""
        rows.append(
            (f"shot {number}", f"{shot.duration:g} s, {frames} frames{image}: {shot.prompt}")
        )
    for text in board.texts:
        rows.append((text.role, f"{text.start:g}-{text.end:g} s: {text.text}"))
    forwards, flops = sum(p.forwards for p in plans), sum(p.flops for p in plans)
    rows.append(("work", f"{forwards} forwards, {flops / 1e12:,.3g} TFLOP"))
    rows.append(("time in all", spoken(forecast(production))))
    rows.append(("peak memory", format_bytes(max(plan.memory.peak for plan in plans))))
    rows.append(("memory available", format_bytes(first.memory.available)))
    return rows + [("note", note) for note in production.notes]


def stored_bits(component: Component) -> int:
    """Bits of a network's weights as they were converted."""
    if component.quantization:
        return component.quantization["bits"]
    return 32 if component.dtype == "float32" else 16


def _encoder_row(production: Production) -> str:
    """What reads the prompt, and where the profile asks for something the model does not have."""
    wanted, found = production.profile.text_encoder_bits, production.text_encoder_bits
    is_small = production.plans[0].model == EMBEDDED  # fewer bits of it would save nothing
    if found is None or wanted == found or is_small or (wanted is None and found >= 16):
        return f"{found or wanted} bits, as converted"
    name = production.profile.name
    if wanted is None:
        return (
            f"{found} bits, as converted; {name} takes full precision: convert without --quantize"
        )
    how = f"convert with --quantize {wanted}"
    return f"{found} bits, as converted; {name} needs no more than {wanted}: {how}"


def _cut_images(storyboard: Storyboard, plan: Plan) -> list[str]:
    """Says when much of a first frame does not fit the format's shape."""
    from mlx_wan.image import image_size

    notes = []
    for path in dict.fromkeys(shot.image for shot in storyboard.shots if shot.image):
        lost = crop_loss(image_size(path), (plan.width, plan.height))
        if lost > _MUCH:
            notes.append(f"{lost:.0%} of {path} is cut away: the video has another shape")
    return notes


def _seeded(shots: tuple[tuple[ClipPlan, ...], ...], seed: int) -> tuple[tuple[ClipPlan, ...], ...]:
    """The clips of a video that begins with `seed`; they were planned to begin with 0."""

    def with_seed(clip: ClipPlan) -> ClipPlan:
        number = (clip.plan.seed + seed) % (MAX_SEED + 1)
        return replace(clip, plan=replace(clip.plan, seed=number))

    return tuple(tuple(with_seed(clip) for clip in clips) for clips in shots)


def _key(shots: tuple[tuple[ClipPlan, ...], ...]) -> str:
    first = shots[0][0].plan.seed
    unseeded = _seeded(shots, MAX_SEED + 1 - first)
    return hashlib.sha256(json.dumps(clip_keys(unseeded)).encode()).hexdigest()[:16]


def _profile(values: dict[str, Any]) -> Profile:
    profile = Profile(**values)
    fine = has_type(profile, Profile) and 0 <= profile.crf <= 51
    if not fine or profile.preset not in X264_PRESETS:
        raise ValueError("its profile is none that can be encoded with")
    return profile


def _first_frame(kind: Any) -> str | None:
    if kind not in (None, "image", "previous"):
        raise ValueError(f"a first frame is {kind!r}"[:80])
    return kind
