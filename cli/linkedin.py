"""`mlx-wan linkedin`: a topic to a finished, signed video for LinkedIn."""

from typing import Annotated, Any

import typer

from . import options as o
from . import studio_options as s

Topic = Annotated[
    str | None,
    typer.Argument(metavar="TOPIC", help="What it is about: the title of the video."),
]
Format = Annotated[
    str | None,
    typer.Option(help="square (1080x1080) or wide (1920x1080). Default: square."),
]


@o.takes({"topic": Topic, "duration": s.Duration, "format": Format, **s.SOCIAL})
def linkedin(
    flags: dict[str, Any],
    print_storyboard: s.PrintStoryboard = False,
    storyboard_schema: s.StoryboardSchema = False,
    dry_run: o.DryRun = False,
    as_json: o.Json = False,
) -> None:
    """Make a LinkedIn video from a topic: pictures of it, the title, your signature.

    mlx-wan linkedin "AI Workforce Transformation 2026" --format square

    Prints the path of the finished MP4; poster and record lie beside it. 10
    seconds by default.
    """
    s.run_social(
        "linkedin", flags, print_storyboard=print_storyboard, dry_run=dry_run, as_json=as_json
    )
