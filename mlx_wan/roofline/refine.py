"""What finished runs say about the predictions: a factor for each model, stage and machine.

Kept in `predictions.json` in MLX_WAN_HOME: measured against predicted of the last runs. The median
of them counts, within bounds, so that one run beside a busy machine changes nothing. One process
at a time changes the file, under a lock beside it.
"""

import hashlib
import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from mlx_wan.errors import MlxWanError
from mlx_wan.files import locked, make_folder, read_small, write_json
from mlx_wan.home import home
from mlx_wan.plan import Plan
from mlx_wan.tensorfile import strict_json

from .machine import machine

if TYPE_CHECKING:
    from .predict import Prediction

FORMAT, VERSION = "mlx-wan-predictions", 1
LAST = 9  # runs that are kept
LEAST, MOST = 0.2, 5.0  # no factor is beyond these
_MAX_BYTES, _MAX_ENTRIES = 1 << 20, 500
_WAIT = 10.0  # seconds for another process to finish writing


def correction(plan: Plan) -> tuple[dict[str, float], int]:
    """(factor of each stage, of how many runs) for a plan's model on this machine."""
    ratios = _read().get(_key(plan), {})
    factors = {stage: _bounded(median(values)) for stage, values in ratios.items() if values}
    return factors, max(map(len, ratios.values()), default=0)


def remember(plan: Plan, predicted: dict[str, float], measured: dict[str, float]) -> None:
    """Keep measured against predicted of a finished run. What cannot be kept is not kept."""
    key = _key(plan)
    with suppress(MlxWanError):
        make_folder(home())
        busy = MlxWanError(f"another process is writing {_file()}")
        with locked(_file().with_suffix(".lock"), busy=busy, seconds=_WAIT):
            known = _read()
            ratios = known.pop(key, {})
            for stage, seconds in predicted.items():
                if seconds > 0 and measured.get(stage, 0) > 0:
                    ratio = min(1e6, max(1e-6, measured[stage] / seconds))
                    ratios[stage] = [*ratios.get(stage, []), round(ratio, 6)][-LAST:]
            known[key] = ratios  # the newest last
            kept = dict(list(known.items())[-_MAX_ENTRIES:])
            write_json(_file(), {"format": FORMAT, "version": VERSION, "runs": kept})


def foretold(plans: Sequence[Plan]) -> "Prediction | None":
    """The prediction a finished run is compared with; None where it cannot be made."""
    from .predict import predict

    try:
        return predict(plans)
    except (MlxWanError, OSError):  # a record is never lost for it
        return None


def beside(
    told: "Prediction | None", seconds: dict[str, float], peak_memory: dict[str, int]
) -> dict[str, Any] | None:
    """Prediction beside measurement, for the record; None where nothing was predicted."""
    from .predict import STAGES

    if told is None:
        return None
    measured = {stage: round(seconds[stage], 3) for stage in STAGES if stage in seconds}
    return told.to_dict() | {"measured": {"seconds": measured, "peak_memory": dict(peak_memory)}}


def learn_from(plans: Sequence[Plan], told: "Prediction | None", seconds: dict[str, float]) -> None:
    """Let a finished run refine the next predictions of its model."""
    if told is not None and told.uncorrected is not None:
        with suppress(OSError):
            remember(plans[0], told.uncorrected, seconds)


def _bounded(ratio: float) -> float:
    return min(MOST, max(LEAST, ratio))


def _key(plan: Plan) -> str:
    """A model on a machine, with the calibration or table the ratios belong to."""
    from .store import calibration_file

    with suppress(OSError):
        base = hashlib.sha256(calibration_file().read_bytes()[:_MAX_BYTES]).hexdigest()[:8]
        return f"{plan.model_fingerprint[:16]} {_machine()} {base}"
    return f"{plan.model_fingerprint[:16]} {_machine()}"


def _machine() -> str:
    told = json.dumps(machine(), sort_keys=True)
    return hashlib.sha256(told.encode()).hexdigest()[:12]


def _read() -> dict[str, dict[str, list[float]]]:
    """What is kept and fits; a damaged file is as good as none."""
    try:
        data: Any = strict_json(read_small(_file(), _MAX_BYTES))
        if data["format"] != FORMAT or data["version"] != VERSION:
            return {}
        return {
            str(key): {
                str(stage): [float(v) for v in values if _is_ratio(v)][-LAST:]
                for stage, values in stages.items()
            }
            for key, stages in data["runs"].items()
        }
    except (MlxWanError, OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _is_ratio(value: Any) -> bool:
    return type(value) in (int, float) and 1e-6 <= value <= 1e6


def _file() -> Path:
    return home() / "predictions.json"
