"""One run, in a process of its own: `python -m mlx_wan.bench.ab.child FOLDER`.

FOLDER/job.json holds the plan; video, latents and result.json are left beside it. The parent holds
the other end of stdin and writes nothing: when it dies, however it dies, this process goes too.
"""

import json
import os
import resource
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from mlx_wan.errors import MlxWanError

if TYPE_CHECKING:
    import numpy as np

    from mlx_wan.events import Event
    from mlx_wan.plan import Plan

_CRF, _PRESET = 10, "medium"  # what is compared is the model, so the encoder loses little


class StepClock:
    """Seconds of each denoise step, and which expert took it, from a run's events."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.experts: list[str] = []
        self._last = 0.0

    def __call__(self, event: "Event") -> None:
        if event.stage != "denoise":
            return
        now = time.perf_counter()
        if event.done:
            self.seconds.append(now - self._last)
            self.experts.append(event.detail)
        self._last = now

    @property
    def per_step(self) -> float | None:
        """The median, without each expert's first step, which reads weights and compiles.

        None when there are no other steps.
        """
        first = {self.experts.index(expert) for expert in self.experts}
        steady = [s for i, s in enumerate(self.seconds) if i not in first]
        return round(median(steady), 6) if steady else None


def render(plan: "Plan", folder: Path) -> dict[str, Any]:
    """Make the plan's video and latents in `folder`; returns what was measured."""
    import numpy as np

    from mlx_wan.files import file_sha256
    from mlx_wan.memory import run_limits
    from mlx_wan.run import Rendering
    from mlx_wan.studio.provenance import ai_metadata
    from mlx_wan.studio.video_io import save_video

    clock, decoding = StepClock(), [0.0]
    with run_limits():
        rendering = Rendering(plan, clock)
        start = time.perf_counter()
        video = save_video(
            _timed(rendering.frames(), decoding),
            folder / "video.mp4",
            fps=plan.fps,
            crf=_CRF,
            preset=_PRESET,
            metadata=ai_metadata(plan.prompt, plan.model, plan.seed),
        )
        saving = time.perf_counter() - start - decoding[0]
        np.save(folder / "latents.npy", np.array(rendering.latents, dtype=np.float32))
    measure = rendering.measure
    seconds = measure.seconds | {"decode": decoding[0], "save": saving}
    return {
        "video": "video.mp4",
        "latents": "latents.npy",
        "seconds": {stage: round(value, 6) for stage, value in seconds.items()},
        "seconds_per_step": clock.per_step,
        "step_seconds": [round(value, 6) for value in clock.seconds],
        "peak_memory": measure.peak_memory,
        "peak_rss": _peak_rss(),
        "bytes_on_disk": video.stat().st_size,
        "work": {"tokens": plan.tokens, "forwards": plan.forwards, "flops": plan.flops},
        "hashes": rendering.hashes | {"video": file_sha256(video)},
        "health": rendering.verdict or "ok",
    }


def main() -> int:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    folder = Path(sys.argv[1])
    try:
        from mlx_wan.plan import Plan

        plan = Plan.from_dict(json.loads((folder / "job.json").read_text()))
        told, code = render(plan, folder), 0
    except MlxWanError as error:
        told, code = {"error": str(error)}, 1
    except MemoryError:
        told, code = {"error": "memory ran out"}, 1
    except Exception as error:  # the parent counts it as a failed run, whatever it is
        import traceback

        traceback.print_exc()
        told, code = {"error": f"{type(error).__name__}: {error}"[:2000]}, 1
    (folder / "result.json").write_text(json.dumps(told))
    return code


def _timed(chunks: "Iterator[np.ndarray]", spent: list[float]) -> "Iterator[np.ndarray]":
    """The chunks as they come; `spent[0]` grows by the seconds each took to come."""
    while True:
        start = time.perf_counter()
        chunk = next(chunks, None)
        spent[0] += time.perf_counter() - start
        if chunk is None:
            return
        yield chunk


def _end_with_parent() -> None:
    while os.read(0, 1):
        pass
    os._exit(1)


def _peak_rss() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


if __name__ == "__main__":
    sys.exit(main())
