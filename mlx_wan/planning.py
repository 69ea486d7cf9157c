"""Request -> Plan: everything the request left open is chosen, and all of it checked.

No weight is read for it: a model's `config.json` and an image's pixels say enough.
"""

import secrets
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from .conditioning import family
from .errors import MemoryPlanError, UsageError
from .files import file_sha256
from .geometry import latent_shape, multiples, token_count
from .linear_quadratic import linear_quadratic
from .loading import (
    Component,
    ModelFolder,
    embedded_model,
    find_model,
    network_config,
    network_module,
    open_model,
)
from .memory import available_memory, check_fits, predict, text_tokens
from .plan import ExpertPlan, Plan, count_forwards
from .presets import EMBEDDED, PRESETS, Preset
from .published import is_published
from .request import Request
from .sampling import ANY_SCHEDULE, Schedule, check_solver, make_schedule

SUGGESTED = "wan2.2-ti2v-5b"  # the first real model to install: it needs the least


def make_plan(
    request: Request,
    *,
    memory_limit: int | None = None,
    size: tuple[int, int] | None = None,
) -> Plan:
    """Choose everything the request left open, and check that it can work.

    `memory_limit` in bytes replaces what the machine has. `size` is a (width, height) to take as
    it is, where a request's is only the area for an image's shape: planning a plan's own size
    again would make it smaller each time.

    Raises UsageError for what the model cannot do, ModelError for a missing or damaged model,
    MemoryPlanError for what cannot fit.
    """
    folder = open_model(find_model(request.model))
    return plan_for(request, folder, memory_limit=memory_limit, size=size)


def plan_for(
    request: Request,
    folder: ModelFolder,
    *,
    memory_limit: int | None = None,
    size: tuple[int, int] | None = None,
    larger: ModelFolder | None = None,
) -> Plan:
    """`make_plan` for a model that is open already, as may be that for `super_resolution`."""
    if request.super_resolution is not None:
        larger = larger or open_model(find_model(request.super_resolution))
        first = replace(request, super_resolution=None)
        _check_continues(larger, folder)  # before anything is said about the first
        plan = plan_for(first, folder, memory_limit=memory_limit, size=size)
        return continue_plan(plan, larger, memory_limit=memory_limit)
    preset = folder.preset
    if preset.continues:
        raise UsageError(
            f"{preset.id} makes the videos of other models larger; it makes none itself",
            f"give --model with one of {', '.join(preset.continues)}, and "
            f"--super-resolution {request.model or preset.id}",
        )
    _check_task(request, folder)
    solver = request.solver or preset.solver
    fps = request.fps or preset.fps
    notes = [*_embedded_note(request, folder), *_published_note(folder)]
    num_frames = _num_frames(request, folder, fps, notes)
    if request.last_image is not None and num_frames == 1:
        raise UsageError("a video of 1 frame has no last frame", "leave --last-image out")
    width, height = _size(request, folder, size, notes)
    shape = latent_shape(folder, width, height, num_frames)
    steps = preset.steps if request.steps is None else request.steps
    shift = preset.shift if request.shift is None else float(request.shift)
    schedule = schedule_for(preset, solver, steps, shift)
    experts = _experts(request, folder, solver, schedule.timesteps)
    running = [expert.name for expert in experts if expert.last_step > expert.first_step]
    available = available_memory() if memory_limit is None else memory_limit
    with_image = request.image is not None
    guided = any(expert.guidance_scale != 1 for expert in experts)
    if request.negative_prompt and not guided:
        notes.append("guidance is off, so nothing reads the negative prompt")
    negative = (
        preset.negative_prompt if request.negative_prompt is None else request.negative_prompt
    )
    memory = predict(
        *(folder, width, height, num_frames, running, available, with_image),
        text_tokens=text_tokens(folder, request.prompt, *([negative] if guided else [])),
        steps=steps,
    )
    try:
        check_fits(memory, folder, width, height, num_frames, running, with_image, steps=steps)
    except MemoryPlanError as error:
        if not is_published(folder):
            raise
        notes.append(
            f"more than this machine has: {error.message} (--memory-limit plans for another)"
        )
    tokens = token_count(folder, shape)
    return Plan(
        model=preset.id,
        model_path=str(folder.path.absolute()),
        model_fingerprint=folder.fingerprint,
        task=preset.task,
        prompt=request.prompt,
        negative_prompt=negative if guided else "",
        image=_absolute(request.image),
        image_sha256=_sha256(request.image),
        last_image=_absolute(request.last_image),
        last_image_sha256=_sha256(request.last_image),
        width=width,
        height=height,
        num_frames=num_frames,
        fps=fps,
        latent_shape=shape,
        tokens=tokens,
        steps=len(schedule.timesteps),
        shift=shift,
        solver=solver,
        sigmas=tuple(schedule.sigmas),
        timesteps=tuple(schedule.timesteps),
        experts=experts,
        seed=secrets.randbelow(2**32) if request.seed is None else request.seed,
        output=request.output,
        flops=forward_flops(folder[running[0]], tokens) * count_forwards(experts),
        memory=memory,
        notes=tuple(notes),
    )


def continue_plan(
    before: Plan,
    folder: ModelFolder,
    *,
    memory_limit: int | None = None,
) -> Plan:
    """The plan that makes the latents of `before` larger, with all its model's own settings.

    Raises UsageError where the model is not for videos of that one, and what `make_plan` raises.
    """
    preset = folder.preset
    width, height = family(preset).larger_size(preset, (before.width, before.height))
    shape = latent_shape(folder, width, height, before.num_frames)
    if (shape[1], shape[-1]) != (before.latent_shape[1], before.latent_shape[-1]):
        raise UsageError(
            f"latents of {before.model_path} have another shape than those of {folder.path}",
            "convert both checkpoints again, from one release",
        )
    schedule = schedule_for(preset, preset.solver, preset.steps, preset.shift)
    made = ExpertPlan(preset.experts[0].name, preset.experts[0].guidance_scale, 0, preset.steps)
    available = available_memory() if memory_limit is None else memory_limit
    with_image, notes = before.image is not None, _published_note(folder)
    memory = predict(
        *(folder, width, height, before.num_frames, [made.name], available, with_image),
        text_tokens=text_tokens(folder, before.prompt),
        steps=preset.steps,
    )
    try:
        check_fits(memory, folder, width, height, before.num_frames, [made.name], with_image)
    except MemoryPlanError as error:
        if not is_published(folder):
            raise MemoryPlanError(
                f"made larger by {preset.id}, {error.message}",
                "choose a smaller first video, or leave --super-resolution out",
            ) from None
        notes.append(f"more than this machine has: {error.message}")
    tokens = token_count(folder, shape)
    return replace(
        before,
        model=preset.id,
        model_path=str(folder.path.absolute()),
        model_fingerprint=folder.fingerprint,
        task=preset.task,
        negative_prompt="",
        last_image=None,
        last_image_sha256=None,
        width=width,
        height=height,
        latent_shape=shape,
        tokens=tokens,
        steps=schedule.steps,
        shift=preset.shift,
        solver=preset.solver,
        sigmas=tuple(schedule.sigmas),
        timesteps=tuple(schedule.timesteps),
        experts=(made,),
        flops=forward_flops(folder[made.name], tokens) * count_forwards((made,)),
        memory=memory,
        notes=tuple(notes),
        before=before,
    )


def replan(
    plan: Plan, model: str | None, output: str | None, memory_limit: int | None = None
) -> Plan:
    """A plan from a record, checked against its model and this machine's memory.

    The output is another one, the folder may be. Raises UsageError when the plan contradicts
    itself or the model, and what `make_plan` raises. Of a plan that continues another, `model` is
    that of the other.
    """
    if plan.before is not None:
        before = replan(plan.before, model, output, memory_limit)
        larger = open_model(find_model(plan.model_path))
        _check_continues(larger, open_model(before.model_path))
        again = continue_plan(before, larger, memory_limit=memory_limit)
        costs = {name: getattr(again, name) for name in _COSTS}
        if replace(plan, **costs) != again:
            raise UsageError(
                f"the recorded plan does not fit {larger.path}", "it was changed, or the model was"
            )
        return again
    folder = open_model(find_model(model or _recorded_model(plan)))
    size = (plan.width, plan.height, plan.num_frames)
    schedule = schedule_for(folder.preset, plan.solver, plan.steps, plan.shift)
    spans = [(expert.first_step, expert.last_step) for expert in plan.experts]
    fits = (
        (plan.model, plan.task) == (folder.preset.id, folder.preset.task)
        and not folder.preset.continues  # which makes nothing without a plan before it
        and plan.latent_shape == latent_shape(folder, *size)
        and (plan.sigmas, plan.timesteps) == (schedule.sigmas, schedule.timesteps)
        and [e.name for e in plan.experts] == [e.name for e in folder.preset.experts]
        and [0, *(last for _, last in spans)] == [*(first for first, _ in spans), plan.steps]
    )
    if not fits:
        raise UsageError(
            f"the recorded plan does not fit {folder.path}", "it was changed, or the model was"
        )
    running = [expert.name for expert in plan.experts if expert.last_step > expert.first_step]
    available = available_memory() if memory_limit is None else memory_limit
    texts = text_tokens(folder, plan.prompt, *([plan.negative_prompt] if plan.guided else []))
    with_image = plan.image is not None
    memory = predict(
        folder, *size, running, available, with_image, text_tokens=texts, steps=plan.steps
    )
    check_fits(memory, folder, *size, running, with_image, steps=plan.steps)
    tokens = token_count(folder, plan.latent_shape)
    flops = forward_flops(folder[running[0]], tokens) * plan.forwards
    return replace(
        plan,
        model_path=str(folder.path.absolute()),
        output=output,
        tokens=tokens,
        flops=flops,
        memory=memory,
    )


def schedule_for(preset: Preset, solver: str, steps: int, shift: float) -> Schedule:
    """The schedule of a model: evenly spaced and shifted, or the one it was made with.

    Raises UsageError for a solver or shift that cannot go with it.
    """
    if preset.whole_steps and solver != preset.solver:
        raise UsageError(
            f"solver is {solver}; {preset.id} predicts whole steps, as {preset.solver} takes them",
            f"use solver {preset.solver}",
        )
    if preset.schedule is None:
        return make_schedule(solver, steps, shift)
    check_solver(solver)
    if solver not in ANY_SCHEDULE:
        raise UsageError(
            f"solver {solver} spaces its own timesteps; {preset.id} has a schedule of its own",
            f"use solver {' or '.join(ANY_SCHEDULE)}",
        )
    if shift != preset.shift:
        raise UsageError(
            f"shift is {shift:g}; {preset.id} has a schedule without shift", "leave --shift out"
        )
    linear_steps = int(steps * preset.schedule.linear_share)
    return linear_quadratic(steps, preset.schedule.threshold, linear_steps)


# what of a plan may be another one here
_COSTS = ("model_path", "model_fingerprint", "output", "memory", "flops", "notes", "before")


def _check_continues(larger: ModelFolder, folder: ModelFolder) -> None:
    """Raise UsageError unless a model makes another one's videos larger."""
    able = [p.id for p in PRESETS.values() if folder.preset.id in p.continues]
    if folder.preset.id not in larger.preset.continues:
        only = f" only of {', '.join(larger.preset.continues)}" if larger.preset.continues else ""
        raise UsageError(
            f"{larger.preset.id} makes no video of {folder.preset.id} larger{only and ',' + only}",
            f"--super-resolution {' or '.join(able)} does"
            if able
            else "leave --super-resolution out",
        )


def _recorded_model(plan: Plan) -> str:
    """Where the plan's model is; the embedded one has another folder in each installation."""
    moved = plan.model == EMBEDDED and not Path(plan.model_path).is_dir()
    return EMBEDDED if moved else plan.model_path


def check_images(plan: Plan) -> None:
    """Raise UsageError when an image is another one than when the plan was made."""
    for path, planned in (
        (plan.image, plan.image_sha256),
        (plan.last_image, plan.last_image_sha256),
    ):
        if _sha256(path) != planned:
            raise UsageError(
                f"{path} is not the image this was planned with", "plan again, or restore the image"
            )


def forward_flops(component: Component, tokens: int) -> float:
    """Floating-point operations of one transformer forward (2 per multiply-add)."""
    return float(network_module(component).forward_flops(network_config(component), tokens))


def _embedded_note(request: Request, folder: ModelFolder) -> list[str]:
    """Says that nobody chose this model, and how to get one that makes real video."""
    if request.model is not None or folder.path != embedded_model():
        return []
    return [
        "no model is installed, so the built-in wan-mini makes an abstract background; for real "
        f"video: mlx-wan models download {SUGGESTED} --convert"
    ]


def _published_note(folder: ModelFolder) -> list[str]:
    """Says that a model is not here, and how to get it."""
    if not is_published(folder):
        return []
    bits = folder[folder.preset.experts[0].name].quantization
    weights = f"quantised to {bits['bits']} bits" if bits else "in 16 bits"
    command = f"mlx-wan models download {folder.preset.id} --convert"
    if bits:
        command += f" --quantize {bits['bits']}"
    return [
        f"{folder.preset.id} is not converted here; this is what it would need {weights}. To get "
        f"it: {command}"
    ]


def _check_task(request: Request, folder: ModelFolder) -> None:
    preset = folder.preset
    if request.image is not None and not preset.takes_image:
        raise UsageError(
            f"{preset.id} makes video from text only; --image was given",
            f"use an image model: {' or '.join(p.id for p in PRESETS.values() if p.takes_image)}",
        )
    if preset.task == "i2v" and request.image is None:
        raise UsageError(f"{preset.id} needs a first frame", "give --image FILE")
    if request.last_image is not None and not preset.takes_last_image:
        able = " or ".join(p.id for p in PRESETS.values() if p.takes_last_image)
        raise UsageError(
            f"{preset.id} takes no last frame", f"first-and-last frame works with {able}"
        )


def _num_frames(request: Request, folder: ModelFolder, fps: int, notes: list[str]) -> int:
    stride = network_config(folder["vae"]).stride[0]
    if request.duration is not None:
        wanted = request.duration * fps
        frames = 1 + stride * max(0, -(-round(wanted - 1) // stride))
        if frames != wanted:
            notes.append(
                f"{request.duration:g} s at {fps} fps is {wanted:g} frames; "
                f"this model makes {stride}n+1: {frames}"
            )
        return frames
    frames = request.num_frames or folder.preset.num_frames
    if (frames - 1) % stride:
        below = 1 + (frames - 1) // stride * stride
        raise UsageError(
            f"num_frames is {frames}; this model makes {stride}n+1 frames",
            f"try {below} or {below + stride}",
        )
    return frames


def _size(
    request: Request, folder: ModelFolder, given: tuple[int, int] | None, notes: list[str]
) -> tuple[int, int]:
    """The video's (width, height): `given`, or following the image's shape where the model does."""
    preset = folder.preset
    width, height = given or _requested_size(request, preset.sizes)
    step_w, step_h = multiples(folder)
    if request.image is not None and given is None:
        from .image import image_size

        asked = (width, height)
        width, height = family(preset).image_size(
            preset, image_size(request.image), width * height, (step_w, step_h)
        )
        if (width, height) != asked:
            notes.append(
                f"{width}x{height} has the area of {asked[0]}x{asked[1]} in the image's shape"
            )
        return width, height
    for name, value, step in (("width", width, step_w), ("height", height, step_h)):
        if value % step or value < step:
            below = max(step, value // step * step)
            above = below + step
            raise UsageError(
                f"{name} is {value}; {preset.id} makes multiples of {step}",
                f"try {below} or {above}",
            )
    return width, height


def _requested_size(request: Request, sizes: tuple[tuple[int, int], ...]) -> tuple[int, int]:
    width, height = request.width, request.height
    if width is None and height is None:
        return sizes[0]
    if width is not None and height is not None:
        return width, height
    for known_width, known_height in sizes:
        if width in (None, known_width) and height in (None, known_height):
            return known_width, known_height
    given = f"width {width}" if height is None else f"height {height}"
    raise UsageError(
        f"{given} alone does not say the size",
        "give both --width and --height; made for "
        + ", ".join(f"{known[0]}x{known[1]}" for known in sizes),
    )


def _experts(
    request: Request, folder: ModelFolder, solver: str, timesteps: tuple[float, ...]
) -> tuple[ExpertPlan, ...]:
    """Steps and guidance of each expert: the first whose range the timestep lies in."""
    preset = folder.preset
    scales = request.guidance_scale
    names = [expert.name for expert in preset.experts]
    if isinstance(scales, Mapping):
        for name in scales:
            if name not in names:
                raise UsageError(
                    f"guidance_scale names {name!r}; {preset.id} has {', '.join(names)}",
                    f"write it as {','.join(name + '=4' for name in names)}",
                )
    plans, first = [], 0
    for expert in preset.experts:
        last = first + sum(t >= expert.from_timestep for t in timesteps[first:])
        # distilled weights, the only ones dmd is for, have their guidance built in
        scale = 1.0 if solver == "dmd" else expert.guidance_scale
        if isinstance(scales, Mapping):
            scale = scales.get(expert.name, scale)
        elif scales is not None:
            scale = scales
        plans.append(ExpertPlan(expert.name, float(scale), first, last))
        first = last
    return tuple(plans)


def _sha256(path: str | None) -> str | None:
    if path is None:
        return None
    if Path(path).exists() and not Path(path).is_file():  # a pipe or device may never end
        raise UsageError(f"image {path} is not a file")
    try:
        return file_sha256(path)
    except OSError as error:
        raise UsageError(f"image {path} cannot be read: {error.strerror}") from None


def _absolute(path: str | None) -> str | None:
    """So that the record can be used from another folder."""
    return None if path is None else str(Path(path).absolute())
