"""The flags that `generate` and `plan` share, and how they become a Request."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from mlx_wan.errors import UsageError

_INPUT, _VIDEO, _SAMPLING = "Input", "Video", "Sampling"

Prompt = Annotated[
    str | None,
    typer.Argument(help="What to show, in one or two sentences; '-' reads it from stdin."),
]
Model = Annotated[
    str | None,
    typer.Option(help="A converted model: its folder, or its name in the models folder."),
]
Image = Annotated[
    str | None, typer.Option(help="First frame (image models).", rich_help_panel=_INPUT)
]
LastImage = Annotated[
    str | None, typer.Option(help="Last frame (wan2.2-i2v-a14b).", rich_help_panel=_INPUT)
]
NegativePrompt = Annotated[
    str | None,
    typer.Option(help="What to avoid. Default: the model authors'.", rich_help_panel=_INPUT),
]
Config = Annotated[
    Path | None,
    typer.Option(
        help="JSON with these settings by name, or a video's record to make it again. "
        "Flags given here win.",
        rich_help_panel=_INPUT,
    ),
]
Width = Annotated[int | None, typer.Option(help="Pixels.", rich_help_panel=_VIDEO)]
Height = Annotated[int | None, typer.Option(help="Pixels.", rich_help_panel=_VIDEO)]
NumFrames = Annotated[
    int | None, typer.Option(help="4n+1, as in 17, 81, 121.", rich_help_panel=_VIDEO)
]
Duration = Annotated[
    float | None,
    typer.Option(help="Seconds, instead of --num-frames.", rich_help_panel=_VIDEO),
]
Fps = Annotated[int | None, typer.Option(help="Frames per second.", rich_help_panel=_VIDEO)]
Output = Annotated[
    str | None,
    typer.Option("--output", "-o", help="MP4 to write. Default: named after the prompt."),
]
Steps = Annotated[int | None, typer.Option(help="Denoise steps.", rich_help_panel=_SAMPLING)]
GuidanceScale = Annotated[
    str | None,
    typer.Option(
        help="How strongly to follow the prompt; 1 is off. One number, or one per expert: "
        "high_noise=4,low_noise=3.",
        rich_help_panel=_SAMPLING,
    ),
]
Shift = Annotated[
    float | None,
    typer.Option(help="Schedule shift; more spends steps on motion.", rich_help_panel=_SAMPLING),
]
Solver = Annotated[
    str | None, typer.Option(help="unipc, euler, dpm++ or dmd.", rich_help_panel=_SAMPLING)
]
Seed = Annotated[
    int | None,
    typer.Option(
        help="Same seed, same video. Default: random, printed.", rich_help_panel=_SAMPLING
    ),
]
MemoryLimit = Annotated[
    float | None,
    typer.Option(help="GiB the run may use. Default: what the machine has."),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]


def plan_from(flags: dict[str, Any]) -> Any:
    """The plan for the parsed flags, `--config` included. Raises what `make_plan` raises."""
    from mlx_wan.planning import make_plan

    config, limit = flags.pop("config"), flags.pop("memory_limit")
    given = _given(flags)
    values: dict[str, Any] = {}
    if config is not None:
        from mlx_wan.record import RECORD_FORMAT, read_json

        values = read_json(config)
        if values.get("format") == RECORD_FORMAT:
            return _plan_from_record(values, given, limit)
    from mlx_wan.request import Request

    for one, other in (("duration", "num_frames"), ("num_frames", "duration")):
        if one in given and other not in given:
            values.pop(other, None)
    return make_plan(Request.from_dict(values | given), memory_limit=_bytes(limit))


def _plan_from_record(record: dict[str, Any], given: dict[str, Any], limit: float | None) -> Any:
    """The record's own plan, so that the same latents come out; flags that change it replan."""
    from mlx_wan.planning import make_plan, replan
    from mlx_wan.record import read_record_plan, request_of

    plan = read_record_plan(record)
    if set(given) <= {"model", "output"}:
        return replan(plan, given.get("model"), given.get("output"), _bytes(limit))
    # with the same image and model, the size stays what it is
    reshaped = given.keys() & {"model", "image", "width", "height"}
    size = None if reshaped else (plan.width, plan.height)
    return make_plan(request_of(plan, given), memory_limit=_bytes(limit), size=size)


def _given(flags: dict[str, Any]) -> dict[str, Any]:
    from mlx_wan.request import MAX_PROMPT_CHARACTERS, parse_guidance_scale

    given = {name: value for name, value in flags.items() if value is not None}
    if given.get("prompt") == "-":
        given["prompt"] = sys.stdin.read(MAX_PROMPT_CHARACTERS + 1)  # it may never end
    if "guidance_scale" in given:
        given["guidance_scale"] = parse_guidance_scale(given["guidance_scale"])
    return given


def _bytes(gib: float | None) -> int | None:
    if gib is None:
        return None
    if not 0 < gib < 2**20:
        raise UsageError(
            f"memory_limit is {gib:g}; accepted: GiB above 0", "as in --memory-limit 16"
        )
    return int(gib * 2**30)
