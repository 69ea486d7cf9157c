"""The record beside each video: the whole plan, hashes, times and memory, as JSON.

The record alone reproduces the latents: its plan goes back into `generate`.
"""

import json
import platform
import re
import secrets
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_type_hints

from .errors import UsageError
from .files import read_small
from .request import Request
from .settings import has_type, shown

if TYPE_CHECKING:  # the library reads records without MLX
    from .plan import Plan

RECORD_FORMAT = "mlx-wan-record"
RECORD_VERSION = 1
_MAX_RECORD_BYTES = 2**24

_ID_LETTERS = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's base 32: nothing looks alike
ID_PATTERN = re.compile(f"[{_ID_LETTERS}]{{12}}")
_ID_EPOCH = 1_735_689_600_000  # 2025-01-01 UTC; 40 bits of milliseconds last until 2059


def new_id() -> str:
    """12 letters and digits, sorting by time (to the millisecond), with 20 random bits."""
    milliseconds = (time.time_ns() // 1_000_000 - _ID_EPOCH) % 2**40
    number = milliseconds << 20 | secrets.randbits(20)
    return "".join(_ID_LETTERS[number >> shift & 31] for shift in range(55, -1, -5))


def build_record(
    plan: "Plan",
    *,
    video: Path,
    hashes: dict[str, str],
    seconds: dict[str, float],
    peak_memory: dict[str, int],
    health: str | None,
) -> dict[str, Any]:
    """All there is to know about a finished video, as plain data."""
    from importlib.metadata import version

    import mlx.core as mx

    from . import __version__

    return {
        "format": RECORD_FORMAT,
        "version": RECORD_VERSION,
        "id": new_id(),
        "video": video.name,
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "health": health or "ok",
        "plan": plan.to_dict(),
        "sha256": hashes,
        "seconds": {stage: round(value, 3) for stage, value in seconds.items()},
        "peak_memory": peak_memory,
        "versions": {
            "mlx_wan": __version__,
            "mlx": version("mlx"),
            "python": platform.python_version(),
            "system": f"{platform.system()} {platform.machine()}",
            "device": mx.default_device().type.name,
        },
    }


def read_record_plan(data: dict[str, Any]) -> "Plan":
    """The plan inside a record. Raises UsageError when this is no record of this version."""
    if data.get("format") != RECORD_FORMAT or data.get("version") != RECORD_VERSION:
        raise UsageError(
            f"this is not a version {RECORD_VERSION} record of mlx-wan",
            "give the .json that lies beside a video",
        )
    if not isinstance(data.get("plan"), dict):
        raise UsageError("the record has no plan", "give the .json that lies beside a video")
    from .plan import Plan

    plan = Plan.from_dict(data["plan"])
    for name, kind in get_type_hints(Plan).items():
        if not has_type(getattr(plan, name), kind):
            raise UsageError(
                f"the record's plan has {name} {shown(getattr(plan, name))}", "it was changed"
            )
    for stage in plan.stages:
        request_of(replace(stage, before=None), {})  # the same checks as for a request
    return plan


def read_json(path: str | Path) -> dict[str, Any]:
    """A JSON object from a small file. Raises UsageError saying what is wrong with it."""
    path = Path(path)
    raw = read_small(path, _MAX_RECORD_BYTES)
    try:
        data = json.loads(raw.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path} is not valid JSON: {error}") from None
    if not isinstance(data, dict):
        raise UsageError(
            f"{path} holds a {type(data).__name__}, not an object", 'as in {"prompt": "..."}'
        )
    return data


def request_of(plan: "Plan", changes: dict[str, Any]) -> Request:
    """The request that leads to `plan`, with some of its settings changed."""
    if plan.before is not None:
        return request_of(plan.before, {"super_resolution": plan.model_path} | changes)
    values: dict[str, Any] = {
        name: getattr(plan, name)
        for name in (
            *("prompt", "negative_prompt", "image", "last_image", "width", "height"),
            *("num_frames", "fps", "steps", "shift", "solver", "seed"),
        )
    }
    values["model"] = plan.model_path
    values["guidance_scale"] = {e.name: e.guidance_scale for e in plan.experts}
    if not plan.guided:
        values["negative_prompt"] = None  # the plan has none, as nothing would have read it
    if "duration" in changes:
        del values["num_frames"]
    return Request.from_dict(values | changes)
