"""How long a video will take here.

Rendering by the roofline where this machine was calibrated, else as the last videos did, per
operation; delivering as the last ones did, per pixel.
"""

import json
import math
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlx_wan.errors import MlxWanError
from mlx_wan.files import write_json
from mlx_wan.home import home
from mlx_wan.plan import Plan

if TYPE_CHECKING:
    from .production import Production

_RENDERING, _DELIVERING = ("encode", "denoise", "decode"), ("contrast", "video", "poster")
_NEWEST = 0.5  # how much the newest video counts against all before


def forecast(made: "Plan | Production") -> float | None:
    """Seconds it will take, or None when no video was made with this model on this machine."""
    known = _known()
    plans = [made] if isinstance(made, Plan) else made.plans
    seconds = _predicted(plans)
    if seconds is None:
        render = known.get(_render_key(plans[0]))
        if render is None:
            return None
        seconds = render * sum(plan.flops for plan in plans)
    if isinstance(made, Plan):
        return seconds
    deliver = known.get(_deliver_key(made))
    return None if deliver is None else seconds + deliver * _pixels(made)


def _predicted(plans: Sequence[Plan]) -> float | None:
    from mlx_wan.roofline.predict import predict

    with suppress(MlxWanError, OSError):
        return predict(plans).total
    return None


def learn(production: "Production", seconds: dict[str, float]) -> None:
    """Remember how long each part of a finished video took. What cannot be kept is not kept."""
    flops = sum(plan.flops for plan in production.plans)
    spent = {
        _render_key(production.plans[0]): sum(seconds.get(s, 0) for s in _RENDERING) / flops,
        _deliver_key(production): sum(seconds.get(s, 0) for s in _DELIVERING) / _pixels(production),
    }
    known = _known()
    for key, rate in spent.items():
        known[key] = rate if key not in known else known[key] + _NEWEST * (rate - known[key])
    with suppress(MlxWanError):
        write_json(_file(), known)


def spoken(seconds: float | None) -> str:
    """A forecast for people."""
    if seconds is None:
        return "not known before a first video was made here with this model"
    if seconds < 90:
        return f"about {max(1, round(seconds))} s"
    if seconds < 90 * 60:
        return f"about {seconds / 60:.0f} min"
    return f"about {seconds / 3600:.1f} h"


def _known() -> dict[str, float]:
    try:
        found: Any = json.loads(_file().read_text(encoding="utf-8"))
        return {str(k): v for k, v in found.items() if type(v) is float and 0 < v < math.inf}
    except (OSError, ValueError, AttributeError):
        return {}


def _file() -> Path:
    return home() / "measured.json"


def _render_key(plan: Plan) -> str:
    import mlx.core as mx

    return f"render {plan.model} {mx.default_device().type.name}"


def _deliver_key(production: "Production") -> str:
    return f"deliver {production.profile.preset}"


def _pixels(production: "Production") -> float:
    form = production.storyboard.format
    return float(production.storyboard.num_frames * form.width * form.height)
