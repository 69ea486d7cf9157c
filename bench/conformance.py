"""Every format, profile and duration made with wan-mini and checked in the finished file.

    python -m mlx_wan.bench.conformance --durations 1 5 --formats square

Checked are size, rate, frame count, yuv420p, BT.709, index in front, no edit list; the signature,
by template match on the first, middle and last frame; the words' boxes inside the safe area; and
their contrast on the decoded frames. Shots are rendered once for all durations; the clips stay in
--work, so that a second run only delivers.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mlx_wan.pipeline import Networks
from mlx_wan.studio.brand import Brand
from mlx_wan.studio.formats import FORMATS, Box, Format
from mlx_wan.studio.overlay import Overlay
from mlx_wan.studio.produce import Finished, Production, make_production, produce
from mlx_wan.studio.profiles import PROFILES, Choice
from mlx_wan.studio.storyboard import Shot, Storyboard, TextBlock
from mlx_wan.studio.video_io import video_fault

DURATIONS = (1.0, 5.0, 10.0, 30.0, 61.5)
CONTRAST = 4.5
MATCH = 0.9  # correlation of the signature found with the one drawn
_LONGEST_SHOT = 10.0
_PROMPTS = (
    "slow blue aurora over a dark background",
    "soft orange orbs drifting upward over a light background",
    "calm teal waves moving right over a dark background",
)


@dataclass(frozen=True)
class Cell:
    """One video of the matrix, and what is wrong with it."""

    format: str
    quality: str
    duration: float
    problems: tuple[str, ...]
    contrast: float
    match: float
    seconds: float


def storyboard(form: str, duration: float) -> Storyboard:
    """Shots that are the same in every duration, and words where there is time to read them."""
    count = max(1, -(-duration // _LONGEST_SHOT))
    lengths = [duration / count] * int(count)
    shots = tuple(Shot(_PROMPTS[i % len(_PROMPTS)], length) for i, length in enumerate(lengths))
    words = [TextBlock("title", "Made on your own Mac", 0.0, duration)]
    if duration < 2:
        words = [TextBlock("title", "Hello", 0.0, duration)]
    if duration >= 10:
        words = [
            TextBlock("hook", "The AI skills premium is real", 0.0, 4.0),
            TextBlock("content", "AI-skilled workers earn 56% more in 2026", 4.0, duration - 3),
            TextBlock("cta", "Connect with Arthur Dell", duration - 3, duration),
        ]
    return Storyboard(form, duration, shots, tuple(words), title=f"Conformance {form}")


def run_cell(
    form: str, quality: str, duration: float, work: Path, networks: Networks, steps: int | None
) -> Cell:
    """Make one video below `work` and check it; the video goes, its clips stay."""
    start = time.perf_counter()
    video = work / f"{form}-{quality}-{duration:g}.mp4"
    for beside in (video, video.with_suffix(".json"), video.with_suffix(".png")):
        beside.unlink(missing_ok=True)
    production = make_production(
        storyboard(form, duration),
        choice=Choice(PROFILES[quality], "the matrix says so"),
        model="wan-mini",
        seed=7,
        brand=Brand(),
        settings={} if steps is None else {"steps": steps},
        output=str(video),
    )
    finished = produce(production, networks=networks, clips=work / "clips")
    problems, contrast, match = check(production, finished)
    for beside in (finished.video, finished.record_path, finished.poster):
        beside.unlink()
    seconds = time.perf_counter() - start
    return Cell(form, quality, duration, tuple(problems), contrast, match, seconds)


def check(production: Production, finished: Finished) -> tuple[list[str], float, float]:
    """What is wrong with a finished video; its lowest contrast and signature match."""
    board, form = production.storyboard, production.storyboard.format
    wanted = round(board.duration * form.fps)
    fault = video_fault(finished.video, wanted, (form.width, form.height), form.fps)
    problems = [] if fault is None else [fault]
    blocks = finished.record["overlay"]["blocks"]
    for block in blocks:
        if not form.safe.contains(Box(**block["box"])):
            problems.append(f"{block['name']} is outside the safe area")
    names = [block["role"] for block in blocks]
    if "signature" not in names or len(names) != 1 + len(board.texts):
        problems.append(f"there are {', '.join(names) or 'no words'}")
    look = {0, wanted // 2, wanted - 1}
    middles = {(block["start_frame"] + block["end_frame"]) // 2: block["name"] for block in blocks}
    contrasts, matches = [], []
    drawn = Words(production, finished)
    for index, frame in enumerate(decoded(finished.video)):
        if index in look:
            matches.append(drawn.signature_match(frame))
        if index in middles:
            contrasts.append(drawn.contrast(frame, index))
    if len(matches) != len(look):
        problems.append(f"only {len(matches)} of {len(look)} frames were found")
    contrast, match = min(contrasts, default=0.0), min(matches, default=0.0)
    if contrast < CONTRAST:
        problems.append(f"the contrast is {contrast:.2f}")
    if match < MATCH:
        problems.append(f"the signature matches by {match:.2f}")
    return problems, contrast, match


class Words:
    """The same words drawn again, to know which pixels of a decoded frame are letters.

    Words are drawn on black and on white: what comes out the same in both is letter, the rest is
    picture and scrim.
    """

    def __init__(self, production: Production, finished: Finished):
        board = production.storyboard
        self.format: Format = board.format
        self.overlay = Overlay(board, production.brand)
        self.blocks: list[dict[str, Any]] = finished.record["overlay"]["blocks"]
        self.template: np.ndarray | None = None

    def signature_match(self, frame: np.ndarray) -> float:
        """The best correlation of the signature's letters within 2 pixels of its place."""
        block = next((block for block in self.blocks if block["role"] == "signature"), None)
        if block is None:
            return 0.0
        letters = self._letters(block, 0)
        box = Box(**block["box"])
        light = frame.astype(np.float32).mean(axis=2)
        best = 0.0
        for dy in range(-2, 3):
            for dx in range(-2, 3):
                rows = slice(box.top + dy, box.bottom + dy)
                part = light[rows, box.left + dx : box.right + dx]
                best = max(best, abs(float(np.corrcoef(part.ravel(), letters.ravel())[0, 1])))
        return best

    def contrast(self, frame: np.ndarray, index: int) -> float:
        """The lowest of all blocks seen: letters against the darkest or lightest 5 % around."""
        found = []
        for block in self.blocks:
            if not block["start_frame"] <= index < block["end_frame"]:
                continue
            letters = self._letters(block, index)
            box = Box(**block["box"])
            light = luminance(frame[box.top : box.bottom, box.left : box.right])
            inside, around = light[letters > 0.98 * letters.max()], light[_near(letters)]
            if not inside.size or not around.size:
                found.append(0.0)
                continue
            words = float(np.median(inside))
            ratios = (np.maximum(words, around) + 0.05) / (np.minimum(words, around) + 0.05)
            found.append(float(np.quantile(ratios, 0.05)))
        return min(found, default=0.0)

    def _letters(self, block: dict[str, Any], index: int) -> np.ndarray:
        """0 to 1 for each pixel of the block's box: how much of it is letter."""
        box = Box(**block["box"])
        drawn = []
        for grey in (0, 255):
            frame = np.full((self.format.height, self.format.width, 3), grey, np.uint8)
            self.overlay.draw(frame, index)
            drawn.append(frame[box.top : box.bottom, box.left : box.right].astype(np.float32))
        cover = 1 - np.abs(drawn[1] - drawn[0]).mean(axis=2) / 255
        if cover.mean() < 0.8:
            return cover
        light = drawn[0].mean(axis=2)  # words on a pill: what differs from it
        distance = np.abs(light - np.median(light)) * (cover > 0.99)
        return distance / max(float(distance.max()), 1.0)


def luminance(frame: np.ndarray) -> np.ndarray:
    """Relative luminance of WCAG 2, 0 to 1, of sRGB pixels."""
    part = frame.astype(np.float32) / 255
    linear = np.where(part <= 0.04045, part / 12.92, ((part + 0.055) / 1.055) ** 2.4)
    return linear @ np.array([0.2126, 0.7152, 0.0722], np.float32)


def decoded(video: Path) -> Iterator[np.ndarray]:
    """The file's frames as a player shows them, uint8 RGB by BT.709."""
    import av
    from av.video.reformatter import ColorRange, Colorspace

    with av.open(str(video.absolute())) as container:
        for picture in container.decode(video=0):
            yield picture.reformat(
                format="rgb24",
                src_colorspace=Colorspace.ITU709,
                src_color_range=ColorRange.MPEG,
                dst_color_range=ColorRange.JPEG,
            ).to_ndarray()


def _near(letters: np.ndarray) -> np.ndarray:
    """Pixels beside letters, 2 to 6 away, that are none themselves."""
    ink = letters > 0.02
    near, wide = _grown(ink, 2), _grown(ink, 6)
    return wide & ~near


def _grown(mask: np.ndarray, by: int) -> np.ndarray:
    padded = np.pad(mask, by)
    rows = np.zeros_like(padded)
    for shift in range(-by, by + 1):
        rows |= np.roll(padded, shift, axis=0)
    grown = np.zeros_like(padded)
    for shift in range(-by, by + 1):
        grown |= np.roll(rows, shift, axis=1)
    return grown[by:-by, by:-by]


def main() -> None:
    """Print the table; exit code 1 when a cell has a problem."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--formats", nargs="+", default=list(FORMATS), choices=list(FORMATS))
    parser.add_argument("--qualities", nargs="+", default=list(PROFILES), choices=list(PROFILES))
    parser.add_argument("--durations", nargs="+", type=float, default=list(DURATIONS))
    parser.add_argument("--work", type=Path, help="keep rendered clips here")
    parser.add_argument("--steps", type=int, help="denoise steps, to be quick")
    given = parser.parse_args()
    temporary = tempfile.TemporaryDirectory()
    work = given.work or Path(temporary.name)
    work.mkdir(parents=True, exist_ok=True)
    networks, start, failed, count = Networks(), time.perf_counter(), 0, 0
    print("format   quality  seconds  contrast  signature  took     problems")
    with suppress(BrokenPipeError):
        for form in given.formats:
            for quality in given.qualities:
                for duration in given.durations:
                    cell = run_cell(form, quality, duration, work, networks, given.steps)
                    count, failed = count + 1, failed + bool(cell.problems)
                    print(
                        f"{form:8} {quality:8} {duration:7g}  {cell.contrast:8.2f}  "
                        f"{cell.match:9.3f}  {cell.seconds:6.1f} s {'; '.join(cell.problems)}",
                        flush=True,
                    )
    seconds = time.perf_counter() - start
    print(f"{count - failed} of {count} conform, {seconds:.0f} s")
    temporary.cleanup()
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
