"""Shots -> clips: planned on the model's own grid and length, rendered once, kept until used.

A clip is named after everything that decides its pixels. One that is whole is never rendered again,
whatever happened to the process that made it, and texts may change without rendering anew.
"""

import hashlib
import json
import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from mlx_wan.errors import GenerationError, MlxWanError
from mlx_wan.events import Event, Report, ignore
from mlx_wan.files import complete_or_absent, file_sha256, write_json
from mlx_wan.geometry import multiples
from mlx_wan.loading import ModelFolder, network_config
from mlx_wan.memory import available_memory, check_fits, predict, text_tokens
from mlx_wan.pipeline import Networks
from mlx_wan.plan import Plan
from mlx_wan.planning import check_images, plan_for
from mlx_wan.request import MAX_SEED, Request
from mlx_wan.run import Rendering

from .background import CROSSFADE, shot_seconds
from .clips import Clip, open_clip, read_clip, write_clip
from .resize import MAX_CROP, Size, crop_loss
from .storyboard import Shot, Storyboard

_MAX_GRID_CROP = 0.05  # of a size chosen by us; MAX_CROP is for the sizes a model was made for
_FREE = ("memory", "output", "model_path", "notes", "flops", "image", "last_image")


@dataclass(frozen=True)
class ClipPlan:
    """One run of the model. `first_frame` is where its first frame comes from: "image" (the
    shot's, cut to the clip's shape), "previous" (where the clip before it ends), or None."""

    plan: Plan
    first_frame: str | None = None


def plan_shots(
    storyboard: Storyboard,
    folder: ModelFolder,
    *,
    area: int,
    steps: int,
    seed: int,
    settings: dict[str, Any],
    memory_limit: int | None = None,
) -> tuple[tuple[ClipPlan, ...], ...]:
    """The clips of each shot. `steps` is what the profile wants, `area` its pixels.

    `settings` are a Request's, given by a person: they win. Raises what `make_plan` raises.
    """
    form = storyboard.format
    size = render_size(folder, (form.width, form.height), area)
    if settings.get("steps") is not None:
        steps = settings["steps"]
    else:
        steps = min(steps, folder.preset.steps)
    shots, count = [], 0
    for shot, seconds in zip(storyboard.shots, shot_seconds(storyboard), strict=True):
        lengths = clip_lengths(folder, seconds)
        clips = []
        for number, frames in enumerate(lengths):
            request = Request(
                **settings
                | {"prompt": shot.prompt, "image": shot.image, "steps": steps}
                | {"num_frames": frames, "seed": (seed + count) % (MAX_SEED + 1)}
            )
            clips.append(_clip_plan(request, folder, size, number, memory_limit))
            count += 1
        shots.append(tuple(clips))
    return tuple(shots)


def render_size(folder: ModelFolder, target: Size, area: int) -> Size:
    """What the model renders for a `target` size with about `area` pixels.

    One of the sizes it was made for, where one has the shape; else the nearest of its grid. The
    area stays within what the model was made for.
    """
    sizes = folder.preset.sizes
    areas = [width * height for width, height in sizes]
    area = min(max(area, min(areas)), max(areas))

    def distance(size: Size) -> float:
        return abs(math.log(size[0] * size[1] / area)) + crop_loss(size, target)

    fitting = [size for size in sizes if crop_loss(size, target) <= MAX_CROP]
    if not fitting:
        step_w, step_h = multiples(folder)
        side = math.isqrt(area) * 2
        grid = [(w, h) for w in range(step_w, side, step_w) for h in range(step_h, side, step_h)]
        fitting = [size for size in grid if crop_loss(size, target) <= _MAX_GRID_CROP]
    return min(fitting, key=distance)


def clip_lengths(folder: ModelFolder, seconds: float) -> list[int]:
    """Frames of each clip of a shot: as few clips as the model's native length allows.

    A loop is one clip, however long. Else each clip after the first gives a frame less when it
    continues the one before, or a crossfade less.
    """
    preset = folder.preset
    if preset.loops:
        return [preset.num_frames]
    stride = network_config(folder["vae"]).stride[0]
    wanted = math.ceil(seconds * preset.fps / preset.stretch) + 1
    shared = 1 if preset.takes_image else round(CROSSFADE * preset.fps)
    native = preset.num_frames
    count = 1 + max(0, math.ceil((wanted - native) / (native - shared)))
    each = math.ceil((wanted + (count - 1) * shared) / count)
    return [min(native, 1 + math.ceil((each - 1) / stride) * stride)] * count


def _clip_plan(
    request: Request, folder: ModelFolder, size: Size, number: int, memory_limit: int | None
) -> ClipPlan:
    plan = replace(plan_for(request, folder, memory_limit=memory_limit, size=size), output=None)
    takes_image = folder.preset.takes_image
    if number == 0 or not takes_image:
        return ClipPlan(plan, "image" if request.image is not None else None)
    running = [expert.name for expert in plan.experts if expert.last_step > expert.first_step]
    available = available_memory() if memory_limit is None else memory_limit
    frames = (plan.width, plan.height, plan.num_frames)
    texts = text_tokens(folder, plan.prompt, *([plan.negative_prompt] if plan.guided else []))
    memory = predict(  # it will have an image
        folder, *frames, running, available, True, text_tokens=texts, steps=plan.steps
    )
    check_fits(memory, folder, *frames, running, True, steps=plan.steps)
    return ClipPlan(replace(plan, memory=memory), "previous")


def clip_keys(shots: Sequence[Sequence[ClipPlan]]) -> list[list[str]]:
    """A name for each clip, the same only for the same pixels."""
    keys: list[list[str]] = []
    for clips in shots:
        keys.append([])
        for clip in clips:
            before = keys[-1][-1] if clip.first_frame == "previous" else None
            plan = {k: v for k, v in clip.plan.to_dict().items() if k not in _FREE}
            about = json.dumps([plan, clip.first_frame, before], sort_keys=True)
            keys[-1].append(hashlib.sha256(about.encode()).hexdigest()[:32])
    return keys


@dataclass(frozen=True)
class Rendered:
    """The clips of each shot, and by clip key what is known of each: hashes, seconds, peaks."""

    clips: list[list[Clip]]
    facts: dict[str, dict[str, Any]]


def render_shots(
    storyboard: Storyboard,
    shots: Sequence[Sequence[ClipPlan]],
    work: Path,
    report: Report = ignore,
    networks: Networks | None = None,
) -> Rendered:
    """Render into the folder `work` what is not there yet.

    Raises GenerationError for a shot that comes out black or frozen, and what the stages raise.
    """
    keys = clip_keys(shots)
    facts: dict[str, dict[str, Any]] = {}
    made: list[list[Clip]] = []
    progress = _Progress(shots, report)
    for shot, clips, names in zip(storyboard.shots, shots, keys, strict=True):
        made.append([])
        for clip, key in zip(clips, names, strict=True):
            path = work / f"{key}.mkv"
            known = _finished(path)
            if known is None:
                path.unlink(missing_ok=True)
                before = made[-1][-1] if made[-1] else None
                plan = _with_first_frame(clip, shot, before, path.with_suffix(".png"))
                known = _render(clip, plan, path, progress, networks)
            progress.next()
            facts[key] = known
            made[-1].append(open_clip(path))
    return Rendered(made, facts)


def _render(
    clip: ClipPlan, plan: Plan, path: Path, progress: "_Progress", networks: Networks | None
) -> dict[str, Any]:
    rendering = Rendering(plan, progress.tell, networks)
    frames = rendering.frames()
    if clip.first_frame == "previous":  # that frame was shown already
        frames = (part for part in _without_first(frames) if len(part))
    write_clip(frames, path, plan.fps, _loops(plan), clip.first_frame == "previous")
    if rendering.verdict:
        path.unlink()
        raise GenerationError(
            f"shot {progress.shot} came out {rendering.verdict}",
            "try another --seed; if it stays so, check the model with `mlx-wan convert --verify`",
        )
    facts = {
        "sha256": rendering.hashes | {"clip": file_sha256(path)},
        "seconds": rendering.measure.seconds,
        "peak_memory": rendering.measure.peak_memory,
    }
    write_json(path.with_suffix(".json"), facts)
    return facts


def _finished(path: Path) -> dict[str, Any] | None:
    """What is known of the clip at `path` if it is whole; its own hash says so."""
    try:
        facts = json.loads(path.with_suffix(".json").read_text())
        return facts if facts["sha256"]["clip"] == file_sha256(path) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _with_first_frame(clip: ClipPlan, shot: Shot, before: Clip | None, path: Path) -> Plan:
    """The plan with its first frame as a picture at `path`, in exactly the clip's size."""
    if clip.first_frame is None:
        return clip.plan
    from PIL import Image

    from mlx_wan.image import crop_to_shape, load_image

    check_images(clip.plan)
    if clip.first_frame == "previous":
        if before is None:
            raise MlxWanError("the first clip of a shot continues nothing", "plan again")
        picture = deque(read_clip(before), maxlen=1).pop()  # the others are let go at once
    else:
        size = (clip.plan.width, clip.plan.height)
        cut = Image.fromarray(crop_to_shape(load_image(str(shot.image)), size))
        picture = np.asarray(cut.resize(size, Image.Resampling.LANCZOS))
    with complete_or_absent(path) as partial:
        Image.fromarray(picture).save(partial, format="PNG")
    return replace(clip.plan, image=str(path.absolute()), image_sha256=file_sha256(path))


def _without_first(chunks: Any) -> Any:
    first = next(chunks)
    yield first[1:]
    yield from chunks


def _loops(plan: Plan) -> bool:
    from mlx_wan.presets import PRESETS

    return PRESETS[plan.model].loops


class _Progress:
    """The events of all clips as if they were one run: steps and frames of the whole video."""

    def __init__(self, shots: Sequence[Sequence[ClipPlan]], report: Report):
        self.report = report
        self.owner = [number for number, clips in enumerate(shots, 1) for _ in clips]
        self.plans = [clip.plan for clips in shots for clip in clips]
        self.index = 0
        self.total = {
            "encode": len(self.plans),
            "denoise": sum(plan.steps for plan in self.plans),
            "decode": sum(plan.num_frames for plan in self.plans),
        }
        self.done = dict.fromkeys(self.total, 0)

    @property
    def shot(self) -> int:
        return self.owner[self.index]

    def tell(self, event: Event) -> None:
        where = f"shot {self.shot} of {self.owner[-1]}" if self.owner[-1] > 1 else ""
        detail = ", ".join(part for part in (where, event.detail) if part)
        done = self.done[event.stage] + event.done
        self.report(Event(event.stage, done, self.total[event.stage], detail))

    def next(self) -> None:
        plan = self.plans[self.index]
        for stage, amount in (("encode", 1), ("denoise", plan.steps), ("decode", plan.num_frames)):
            self.done[stage] += amount
        self.index += 1
