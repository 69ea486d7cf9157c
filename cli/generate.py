"""`mlx-wan generate`: a prompt (and an image) to an MP4 and its record."""

from typing import Any

from . import options as o
from .deliver import deliver
from .planned import planned


@o.takes(o.VIDEO)
def generate(flags: dict[str, Any], dry_run: o.DryRun = False, as_json: o.Json = False) -> None:
    """Make a video from a prompt, or from an image and a prompt.

    Prints the path of the finished MP4; its record (plan, seed, hashes, times)
    lies beside it. What is not given comes from the model's own defaults. With
    --format it is a finished video: exactly that size and rate, signed.
    """
    deliver(planned(flags), dry_run=dry_run, as_json=as_json)
