"""What `linkedin`, `youtube` and their items in a batch share: flags, and how they are made."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlx_wan.errors import UsageError

from . import options as o

if TYPE_CHECKING:
    from mlx_wan.studio.produce import Production
    from mlx_wan.studio.storyboard import Storyboard

_PICTURES, _SHOW = "Pictures", "Storyboard"


def _print_schema(wanted: bool) -> None:
    if wanted:
        import json

        from mlx_wan.studio.storyboard_file import storyboard_schema

        print(json.dumps(storyboard_schema(), indent=2))
        raise typer.Exit()


Duration = Annotated[float | None, typer.Option(help="Seconds, 1 to 600.")]
Model = Annotated[
    str | None,
    typer.Option(
        help="A converted model: its folder, or its name in the models folder. Default: the "
        "active one.",
        rich_help_panel=_PICTURES,
    ),
]
Image = Annotated[
    str | None,
    typer.Option(
        help="First frame (image models); the video is one shot then.", rich_help_panel=_PICTURES
    ),
]
Fast = Annotated[
    bool,
    typer.Option(
        "--fast",
        help="Step-distilled weights, where the model has them.",
        rich_help_panel=_PICTURES,
    ),
]
Expand = Annotated[
    bool,
    typer.Option(
        "--expand",
        help="Let a language model on this machine describe the pictures. Default: templates.",
        rich_help_panel=_PICTURES,
    ),
]
Llm = Annotated[
    str | None,
    typer.Option(
        help="Which, for --expand: a folder mlx-lm reads, or the id of a downloaded one. "
        "Default: MLX_WAN_LLM, or MLX_WAN_HOME/llm.",
        rich_help_panel=_PICTURES,
    ),
]
StoryboardFile = Annotated[
    Path | None,
    typer.Option(
        help="Make this storyboard (YAML or JSON) instead; nothing else is said then.",
        rich_help_panel=_SHOW,
    ),
]
PrintStoryboard = Annotated[
    bool,
    typer.Option(
        "--print-storyboard",
        help="Print the storyboard as YAML and stop; edit it, and give it as --storyboard.",
        rich_help_panel=_SHOW,
    ),
]
StoryboardSchema = Annotated[
    bool,
    typer.Option(
        "--storyboard-schema",
        callback=_print_schema,
        is_eager=True,
        help="Print the JSON Schema of storyboard files and stop.",
        rich_help_panel=_SHOW,
    ),
]

# besides what is said, its duration and format
SOCIAL: dict[str, Any] = {
    "output": o.Output,
    **o.STUDIO,
    "model": Model,
    "image": Image,
    "fast": Fast,
    "expand": Expand,
    "llm": Llm,
    "storyboard": StoryboardFile,
    **o.SAMPLING,
    "memory_limit": o.MemoryLimit,
}
_SAID = {
    "linkedin": ("topic", "duration", "format"),
    "youtube": ("hook", "content", "cta", "duration"),
}
_PICTURED = ("image", "expand", "llm")  # a storyboard file has its own pictures


def social_storyboard(kind: str, values: dict[str, Any]) -> "Storyboard":
    """The storyboard for the settings of a `kind` of video, "linkedin" or "youtube", by name."""
    _check_names(kind, values)
    file = values.get("storyboard")
    if file is not None:
        return _from_file(kind, file, values)
    from mlx_wan.studio import social

    picturing = social.Picturing(
        model=values.get("model"),
        seed=values.get("seed"),
        image=values.get("image"),
        expand=values.get("llm") or bool(values.get("expand")),
    )
    duration = values.get("duration")
    if kind == "linkedin":
        if values.get("topic") is None:
            raise UsageError("there is no topic", "say in a few words what the video is about")
        return social.linkedin_board(values["topic"], duration, values.get("format"), picturing)
    said = {role: values.get(role) for role in ("hook", "content", "cta")}
    return social.youtube_board(**said, duration=duration, picturing=picturing)


def social_production(kind: str, values: dict[str, Any], limit: int | None = None) -> "Production":
    """The production for settings by name, as flags or as an item of a batch; None is not given.

    `limit` is of memory, in bytes.
    """
    from mlx_wan.studio.social import board_production

    from .planned import making

    board = social_storyboard(kind, values)
    return board_production(
        board,
        quality=values.get("quality"),
        fast=bool(values.get("fast")),
        **making(values, limit, tags=(kind,)),
    )


def _check_names(kind: str, values: dict[str, Any]) -> None:
    known = [*_SAID[kind], *SOCIAL, "tags"]
    for name in values:
        if name not in known:
            raise UsageError(f"unknown setting {name!r}", f"known: {', '.join(known)}")


def _from_file(kind: str, file: str | Path, values: dict[str, Any]) -> "Storyboard":
    for name in (*_SAID[kind], *_PICTURED):
        if values.get(name) not in (None, False):
            raise UsageError(
                f"--storyboard and {name.replace('_', '-')} were both given",
                "a storyboard says all of that itself",
            )
    from mlx_wan.studio.storyboard_file import load_storyboard
    from mlx_wan.studio.templates import LINKEDIN_FORMATS

    board = load_storyboard(file)
    accepted = LINKEDIN_FORMATS if kind == "linkedin" else ("shorts",)
    if board.format_name not in accepted:
        other = "youtube" if kind == "linkedin" else "linkedin"
        raise UsageError(
            f"{file} is a storyboard in the format {board.format_name}",
            f"make it with `mlx-wan {other} --storyboard`",
        )
    return board


def run_social(
    kind: str, flags: dict[str, Any], *, print_storyboard: bool, dry_run: bool, as_json: bool
) -> None:
    """The command: print the storyboard, or the plan, or make the video and print its path."""
    from .planned import given_flags, memory_bytes

    given = given_flags(flags)
    limit = memory_bytes(given.pop("memory_limit", None))
    if print_storyboard:
        _print_board(social_storyboard(kind, given), as_json)
        return
    from .deliver import deliver

    deliver(social_production(kind, given, limit), dry_run=dry_run, as_json=as_json)


def _print_board(board: "Storyboard", as_json: bool) -> None:
    if as_json:
        import json

        print(json.dumps({"ok": True, "storyboard": board.to_dict()}, ensure_ascii=False))
        return
    from mlx_wan.studio.storyboard_file import storyboard_yaml

    print(storyboard_yaml(board), end="")
