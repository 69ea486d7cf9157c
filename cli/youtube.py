"""`mlx-wan youtube`: hook, content and call to action to a finished, signed short."""

from typing import Annotated, Any

import typer

from . import options as o
from . import studio_options as s

Hook = Annotated[str | None, typer.Option(help="The first words, for two or three seconds.")]
Content = Annotated[str | None, typer.Option(help="What you have to say.")]
Cta = Annotated[str | None, typer.Option(help="The call to action at the end.")]


@o.takes({"hook": Hook, "content": Content, "cta": Cta, "duration": s.Duration, **s.SOCIAL})
def youtube(
    flags: dict[str, Any],
    print_storyboard: s.PrintStoryboard = False,
    storyboard_schema: s.StoryboardSchema = False,
    dry_run: o.DryRun = False,
    as_json: o.Json = False,
) -> None:
    """Make a YouTube short (1080x1920): a hook, what you have to say, a call to action.

    mlx-wan youtube --hook "The AI skills premium is real"
    --content "AI-skilled workers earn 56% more in 2026"
    --cta "Connect with Arthur Dell" --duration 30

    Prints the path of the finished MP4; poster and record lie beside it. 30
    seconds by default.
    """
    s.run_social(
        "youtube", flags, print_storyboard=print_storyboard, dry_run=dry_run, as_json=as_json
    )
