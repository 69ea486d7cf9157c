"""The flags that commands share, as tables a command takes with `@takes(...)`."""

from collections.abc import Callable, Mapping
from functools import wraps
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

import typer

_INPUT, _VIDEO, _SAMPLING, _STUDIO = "Input", "Video", "Sampling", "Finished video"

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
    int | None, typer.Option(help="4n+1, as in 17, 81, 121; Mochi 6n+1.", rich_help_panel=_VIDEO)
]
Duration = Annotated[
    float | None,
    typer.Option(help="Seconds, instead of --num-frames.", rich_help_panel=_VIDEO),
]
Fps = Annotated[int | None, typer.Option(help="Frames per second.", rich_help_panel=_VIDEO)]
Output = Annotated[
    str | None,
    typer.Option(
        "--output", "-o", help="MP4 to write. Default: named after what it shows, in the library."
    ),
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
SuperResolution = Annotated[
    str | None,
    typer.Option(
        help="A second model that makes the video larger, as in hunyuanvideo-1.5-720p-sr.",
        rich_help_panel=_VIDEO,
    ),
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
FromRecord = Annotated[
    str | None,
    typer.Option(
        help="Make this video again: its id in the library, or its JSON record.",
        rich_help_panel=_INPUT,
    ),
]
Format = Annotated[
    str | None,
    typer.Option(
        help="Deliver as square, wide or shorts, signed. Default: wan-mini wide, others as "
        "rendered.",
        rich_help_panel=_STUDIO,
    ),
]
Quality = Annotated[
    str | None,
    typer.Option(help="auto, high, medium or low. Default: auto.", rich_help_panel=_STUDIO),
]
BrandFile = Annotated[
    Path | None,
    typer.Option(
        help="A brand file instead of the one of `mlx-wan brand`.", rich_help_panel=_STUDIO
    ),
]
NoBrand = Annotated[bool, typer.Option("--no-brand", help="No signature.", rich_help_panel=_STUDIO)]
Interpolate = Annotated[
    str | None,
    typer.Option(
        help="Frames in between: motion or off. Default: motion.", rich_help_panel=_STUDIO
    ),
]
DebugSafeZones = Annotated[
    bool,
    typer.Option(
        "--debug-safe-zones", help="Draw what the platforms cover.", rich_help_panel=_STUDIO
    ),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Print the plan and stop; no weight is read.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]


# the settings of a Request that say how to sample, for any command that makes video
SAMPLING: dict[str, Any] = {
    "negative_prompt": NegativePrompt,
    "steps": Steps,
    "guidance_scale": GuidanceScale,
    "shift": Shift,
    "solver": Solver,
    "seed": Seed,
}
# how a finished video is made, whatever it shows
STUDIO: dict[str, Any] = {
    "quality": Quality,
    "brand": BrandFile,
    "no_brand": NoBrand,
    "interpolate": Interpolate,
    "debug_safe_zones": DebugSafeZones,
}
# one video from a prompt: `generate` and `plan`
VIDEO: dict[str, Any] = {
    "prompt": Prompt,
    "model": Model,
    "output": Output,
    "memory_limit": MemoryLimit,
    "image": Image,
    "last_image": LastImage,
    "config": Config,
    "from_record": FromRecord,
    "format": Format,
    **STUDIO,
    "width": Width,
    "height": Height,
    "num_frames": NumFrames,
    "duration": Duration,
    "fps": Fps,
    "super_resolution": SuperResolution,
    **SAMPLING,
}


def takes(table: Mapping[str, Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """A command with the flags of `table` besides its own; it gets them as a dict, first.

    Flags that were not given are None, or False where they take no value.
    """

    def with_table(command: Callable[..., None]) -> Callable[..., None]:
        @wraps(command)
        def wrapper(**values: Any) -> None:
            command({name: values.pop(name) for name in table}, **values)

        own = list(signature(command).parameters.values())[1:]
        shared = [
            Parameter(name, Parameter.KEYWORD_ONLY, default=_default(kind), annotation=kind)
            for name, kind in table.items()
        ]
        parameters = [*shared, *(one.replace(kind=Parameter.KEYWORD_ONLY) for one in own)]
        wrapper.__dict__["__signature__"] = Signature(parameters)
        wrapper.__annotations__ = {one.name: one.annotation for one in parameters}
        return wrapper

    return with_table


def _default(kind: Any) -> Any:
    assert get_origin(kind) is Annotated
    return False if get_args(kind)[0] is bool else None
