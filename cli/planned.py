"""What flags become: a Plan for frames as the model makes them, a Production for a finished video.

A finished video is made where `--format` says so, or the model's preset has a format and no size
was asked for.
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlx_wan.errors import UsageError
from mlx_wan.settings import shown

if TYPE_CHECKING:
    from mlx_wan.plan import Plan
    from mlx_wan.studio.produce import Production

_RENDERED_ONLY = ("width", "height", "num_frames", "fps", "last_image", "super_resolution")
_FINISHED_ONLY = ("quality", "brand", "interpolate", "debug_safe_zones")


@dataclass(frozen=True)
class Published:
    """A model that is not converted may be planned as published, here in so many bits."""

    bits: int | None = None


def planned(flags: dict[str, Any], published: Published | None = None) -> "Plan | Production":
    """The plan or production for the flags of `options.VIDEO`, `--config` included."""
    given = given_flags(flags)
    limit = memory_bytes(given.pop("memory_limit", None))
    config, name = given.pop("config", None), given.pop("from_record", None)
    if config is not None and name is not None:
        raise UsageError("--config and --from-record were both given", "give one of them")
    values: dict[str, Any] = {}
    if config is not None or name is not None:
        from mlx_wan.record import RECORD_FORMAT, read_json

        values = read_json(config if name is None else record_file(name))
        if name is not None or values.get("format") == RECORD_FORMAT:
            return _from_record(values, given, limit)
    for one, other in (("duration", "num_frames"), ("num_frames", "duration")):
        if one in given and other not in given:
            values.pop(other, None)
    made = plan_values(values | given, limit, published)
    if values.get("tags") and not hasattr(made, "tags"):
        raise UsageError(
            "tags in a config file are for finished videos", "say which: --format square"
        )
    return made


def plan_values(
    values: dict[str, Any], limit: int | None = None, published: Published | None = None
) -> "Plan | Production":
    """The plan or production for settings by name, as in a config file or a batch."""
    form = _format(values)
    if form is not None:
        if published is not None and published.bits is not None:
            raise UsageError(
                "--quantize plans a published model's own frames",
                "give --model, as in --model mochi-1, and no --format",
            )
        return _production(values, form, limit)
    for name in _FINISHED_ONLY:
        if values.pop(name, None) is not None:
            raise UsageError(
                f"{_flag(name)} is for finished videos", "say which: --format square, wide, shorts"
            )
    from mlx_wan.planning import make_plan, plan_for
    from mlx_wan.request import Request

    for name in ("format", "no_brand", "tags"):
        values.pop(name, None)
    request = Request.from_dict(values)
    if published is None:
        return make_plan(request, memory_limit=limit)
    from mlx_wan.published import planning_folder

    folder = planning_folder(request.model, published.bits)
    larger = request.super_resolution and planning_folder(request.super_resolution, published.bits)
    return plan_for(request, folder, memory_limit=limit, larger=larger or None)


def record_file(name: str) -> Path:
    """The JSON record with this path, or of the video with this id in the library."""
    from mlx_wan.home import expanded

    path = expanded(name)
    if path.suffix.lower() == ".json" or path.is_file():
        return path
    from mlx_wan import library

    return library.find(name).record_path


def given_flags(flags: dict[str, Any]) -> dict[str, Any]:
    """The flags that were given, as values of a Request."""
    from mlx_wan.request import MAX_PROMPT_CHARACTERS, parse_guidance_scale

    given = {name: value for name, value in flags.items() if value is not None}
    given = {name: value for name, value in given.items() if value is not False}  # 0 is given
    if given.get("prompt") == "-":
        given["prompt"] = sys.stdin.read(MAX_PROMPT_CHARACTERS + 1)  # it may never end
    if "guidance_scale" in given:
        given["guidance_scale"] = parse_guidance_scale(given["guidance_scale"])
    return given


def memory_bytes(gib: float | None) -> int | None:
    """`--memory-limit` in bytes."""
    if gib is None:
        return None
    if not 0 < gib < 2**20:
        raise UsageError(
            f"memory_limit is {gib:g}; accepted: GiB above 0", "as in --memory-limit 16"
        )
    return int(gib * 2**30)


def chosen_brand(values: dict[str, Any]) -> Any:
    """The brand for `--brand` and `--no-brand`: None for no signature."""
    if values.get("no_brand"):
        if values.get("brand") is not None:
            raise UsageError("--brand and --no-brand were both given", "give one of them")
        return None
    from mlx_wan.studio.brand import load_brand

    brand = values.get("brand")
    if not isinstance(brand, str | Path | None):
        raise UsageError(f"brand is {shown(brand)}", "give the name of a brand file")
    return load_brand(brand)


def _format(values: dict[str, Any]) -> str | None:
    """The format a finished video is asked for in, or None for frames as rendered."""
    rendered = [name for name in _RENDERED_ONLY if values.get(name) is not None]
    form = values.get("format")
    if form is not None:
        if rendered:
            raise UsageError(
                f"--format and {_flag(rendered[0])} were both given",
                "a format has its own size and rate; leave one of them out",
            )
        return form
    if rendered or not values.get("prompt"):
        return None
    from mlx_wan.published import planning_folder

    return planning_folder(_model(values)).preset.format


def _model(values: dict[str, Any]) -> str | None:
    model = values.get("model")
    if model is not None and (not isinstance(model, str) or not model):
        raise UsageError(f"model is {model!r}", "leave --model out for the default")
    return model


def _production(values: dict[str, Any], form: str, limit: int | None) -> "Production":
    """One shot without words."""
    from mlx_wan.loading import find_model, open_model
    from mlx_wan.request import Request
    from mlx_wan.studio.produce import make_production
    from mlx_wan.studio.profiles import profile_for
    from mlx_wan.studio.storyboard import Shot, Storyboard

    known = {*Request.__dataclass_fields__, *_FINISHED_ONLY, "format", "no_brand", "tags"}
    for name in values:
        if name not in known:
            raise UsageError(f"unknown setting {name!r}", f"known: {', '.join(sorted(known))}")
    Request.from_dict({k: v for k, v in values.items() if k in Request.__dataclass_fields__})
    prompt = values["prompt"]
    preset = open_model(find_model(_model(values))).preset
    duration = values.get("duration")
    if duration is None:  # a loop twice, or one native clip
        duration = (preset.num_frames - 1) / preset.fps * preset.stretch * (1 + preset.loops)
    board = Storyboard(form, duration, (Shot(prompt, duration, image=values.get("image")),))
    return make_production(
        board,
        choice=profile_for(values.get("quality"), prompt, has_text_overlay=False),
        **making(values, limit),
    )


def making(values: dict[str, Any], limit: int | None, tags: tuple[str, ...] = ()) -> dict[str, Any]:
    """What make_production takes besides storyboard and quality, from settings by name.

    None is not given. `tags` are those of a video that was given none.
    """
    from mlx_wan.studio.produce import ENGINE_SETTINGS

    given = {name: value for name, value in values.items() if value is not None}
    return {
        "model": given.get("model"),
        "seed": given.get("seed"),
        "brand": chosen_brand(given),
        "settings": {name: given[name] for name in ENGINE_SETTINGS if name in given},
        "interpolate": given.get("interpolate", "motion"),
        "debug_safe_zones": bool(given.get("debug_safe_zones")),
        "output": given.get("output"),
        "tags": _tags(given.get("tags")) or tags,
        "memory_limit": limit,
    }


def _tags(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list | None) or not all(isinstance(tag, str) for tag in value or ()):
        raise UsageError(f"tags is {shown(value)}", "accepted: a list of words")
    return tuple(value or ())


def _from_record(
    record: dict[str, Any], given: dict[str, Any], limit: int | None
) -> "Plan | Production":
    """The record's own plan, so that the same video comes out; flags that change it replan."""
    from mlx_wan.planning import make_plan, replan
    from mlx_wan.record import read_record_plan, request_of

    if "production" in record:
        return _production_again(record, given, limit)
    for name in ("format", *_FINISHED_ONLY):
        if name in given:
            raise UsageError(
                f"{_flag(name)} is for finished videos; the record is of frames as rendered",
                "give the prompt and the seed instead of the record",
            )
    given.pop("no_brand", None)
    plan = read_record_plan(record)
    if set(given) <= {"model", "output"}:
        return replan(plan, given.get("model"), given.get("output"), limit)
    # with the same image and model, the size stays what it is
    reshaped = given.keys() & {"model", "image", "width", "height"}
    first = plan.stages[0]
    size = None if reshaped else (first.width, first.height)
    return make_plan(request_of(plan, given), memory_limit=limit, size=size)


def _production_again(
    record: dict[str, Any], given: dict[str, Any], limit: int | None
) -> "Production":
    from dataclasses import replace

    from mlx_wan.studio.produce import recorded_production

    changed = given.keys() - {"model", "output", "brand", "no_brand", "debug_safe_zones"}
    if changed:
        raise UsageError(
            f"{_flag(min(changed))} cannot be changed in a finished video's record",
            "the record makes the same video; brand, output and the model's folder may differ",
        )
    production = recorded_production(
        record, model=given.get("model"), output=given.get("output"), memory_limit=limit
    )
    if given.keys() & {"brand", "no_brand"}:
        production = replace(production, brand=chosen_brand(given))
    if "debug_safe_zones" in given:
        production = replace(production, debug_safe_zones=True)
    return production


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")
