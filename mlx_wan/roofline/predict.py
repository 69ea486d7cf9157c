"""A plan's seconds by stage and peak memory, and where the figures come from."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from mlx_wan.conditioning import family
from mlx_wan.errors import MlxWanError
from mlx_wan.loading import ModelFolder
from mlx_wan.plan import Plan
from mlx_wan.published import folder_of

from .chips import Chip, find_chip, this_chip
from .machine import machine
from .rates import Rates, seconds
from .refine import correction
from .stages import stage_seconds
from .store import read_calibration

STAGES = ("encode", "denoise", "decode")
_UNCALIBRATED = "not calibrated: run mlx-wan doctor --calibrate"


@dataclass(frozen=True)
class Prediction:
    """`seconds` by stage, None when nothing is known of this machine; `peak_memory` in bytes.

    `source` says where the seconds come from: "calibrated", "chip table" or "unknown". With `runs`
    above 0 they were corrected by so many finished ones; `uncorrected` are those of the calibration
    or table alone. `chip` is the one asked for.
    """

    seconds: dict[str, float] | None
    peak_memory: dict[str, int]
    source: str
    runs: int
    chip: str | None
    note: str
    uncorrected: dict[str, float] | None = None

    @property
    def total(self) -> float | None:
        return None if self.seconds is None else sum(self.seconds.values())

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON; never to be taken for a measurement."""
        told = self.seconds and {stage: round(value, 3) for stage, value in self.seconds.items()}
        return {
            "kind": "prediction",
            "seconds": told,
            "peak_memory": self.peak_memory,
            "source": self.source,
            "corrected_by_runs": self.runs,
            "chip": self.chip,
            "note": self.note,
        }


def predict(plans: Sequence[Plan], chip: str | None = None) -> Prediction:
    """What the plans, of one model, take here one after the other, or on a chip of the table.

    Peak memory is what the plans say. Raises UsageError for an unknown chip, and MlxWanError kinds
    for a model that cannot be opened.
    """
    peaks = {s: max(_peaks(plan)[s] for plan in plans) for s in STAGES}
    unknown = Prediction(None, peaks, "unknown", 0, None, _UNCALIBRATED)
    if chip is not None:
        wanted = find_chip(chip)
        seconds = _sums(plans, folder_of(plans[0]), wanted.rates())
        note = (
            f"a prediction from published figures, not measured: {wanted.name}; {wanted.basis}; "
            "starting each operation is not counted, so small models and videos take longer"
        )
        return replace(unknown, seconds=seconds, source="chip table", chip=wanted.id, note=note)
    base, source, note = _base()
    if base is None:
        return replace(unknown, note=note)
    plain = _sums(plans, folder_of(plans[0]), base)
    factors, runs = correction(plans[0])
    seconds = {stage: value * factors.get(stage, 1.0) for stage, value in plain.items()}
    if runs:
        note = f"{note}, corrected by {runs} run{'s' if runs > 1 else ''} of this model"
    return replace(unknown, seconds=seconds, source=source, runs=runs, note=note, uncorrected=plain)


def _base() -> tuple[Rates | None, str, str]:
    """The rates of this machine, their source, and how that is said."""
    problem = ""
    try:
        calibration = read_calibration()
    except MlxWanError as error:
        calibration, problem = None, f"{error.message}; {error.hint}"
    if calibration is not None:
        return calibration.rates, "calibrated", f"calibrated on {calibration.date[:10]}"
    chip: Chip | None = this_chip(str(machine()["chip"]))
    if chip is not None and machine()["device"] == "gpu":
        note = f"from the chip table ({chip.name}), not measured; {problem or _UNCALIBRATED}"
        return chip.rates(), "chip table", note
    return None, "unknown", problem or _UNCALIBRATED


def _peaks(plan: Plan) -> dict[str, int]:
    """Of each stage, or of the plan it continues, which is not decoded."""
    peaks = plan.memory.stages()
    if plan.before is not None:
        first = plan.before.memory
        peaks["encode"] = max(peaks["encode"], first.encode)
        peaks["denoise"] = max(peaks["denoise"], first.denoise)
    return peaks


def _sums(plans: Sequence[Plan], folder: ModelFolder, rates: Rates) -> dict[str, float]:
    """Equal plans (another seed or prompt) are counted once and multiplied."""
    total = dict.fromkeys(STAGES, 0.0)
    known: dict[Any, dict[str, float]] = {}
    for plan in plans:
        alike = (
            *(plan.latent_shape, plan.num_frames, plan.experts, plan.image is None),
            plan.before and (plan.before.latent_shape, plan.before.experts),
        )
        if alike not in known:
            known[alike] = stage_seconds(plan, folder, rates)
            if plan.before is not None:  # of which nothing is decoded
                first = stage_seconds(plan.before, folder_of(plan.before), rates)
                for stage in ("encode", "denoise"):
                    known[alike][stage] += first[stage]
                read = family(folder.preset).small_work(folder, plan.latent_shape)
                known[alike]["encode"] += seconds(read, rates)
        for stage, value in known[alike].items():
            total[stage] += value
    return total
