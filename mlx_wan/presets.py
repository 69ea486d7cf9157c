"""The models we know, as data: experts, official defaults, sizes (spec wan.md, sections 2, 4, 9).

What a checkpoint says about itself (widths, text length, heads) is read from the checkpoint;
a preset only holds what the authors chose for sampling.
"""

from dataclasses import dataclass

WAN_NEGATIVE_PROMPT = (
    "色调艳丽，过曝，静态，细节模糊不清，字幕，风格，作品，画作，画面，静止，整体发灰，最差质量，低质量，"
    "JPEG压缩残留，丑陋的，残缺的，多余的手指，画得不好的手部，画得不好的脸部，畸形的，毁容的，形态畸形的肢体，"
    "手指融合，静止不动的画面，杂乱的背景，三条腿，背景人很多，倒着走"
)

EMBEDDED = "wan-mini"  # comes with the package, for as long as no other model is installed


@dataclass(frozen=True)
class Expert:
    """One denoising network and the noise levels it is for.

    `from_timestep` is the lowest timestep (0..1000) this expert handles.
    """

    name: str
    guidance_scale: float
    from_timestep: float = 0.0


@dataclass(frozen=True)
class Preset:
    """Defaults of one published model. `experts` are in the order they run, noisiest first.

    For the studio: `loops` when the last frame leads back to the first, `stretch` how much slower
    than `fps` it is played, `format` what is delivered when nobody asks for a size.
    """

    id: str
    title: str
    task: str  # "t2v", "i2v" or "ti2v"
    experts: tuple[Expert, ...]
    steps: int
    shift: float
    num_frames: int
    fps: int
    sizes: tuple[tuple[int, int], ...]  # (width, height), the first is the default
    vae: str = "wan21"  # or "wan22"
    solver: str = "unipc"
    negative_prompt: str = WAN_NEGATIVE_PROMPT
    loops: bool = False
    stretch: float = 1.0
    format: str | None = None

    @property
    def takes_image(self) -> bool:
        return self.task in ("i2v", "ti2v")


PRESETS = {
    preset.id: preset
    for preset in (
        Preset(
            id="wan2.2-t2v-a14b",
            title="Wan 2.2 text to video A14B",
            task="t2v",
            experts=(Expert("high_noise", 4.0, 875.0), Expert("low_noise", 3.0)),
            steps=40,
            shift=12.0,
            num_frames=81,
            fps=16,
            sizes=((1280, 720), (720, 1280), (832, 480), (480, 832)),
        ),
        Preset(
            id="wan2.2-i2v-a14b",
            title="Wan 2.2 image to video A14B",
            task="i2v",
            experts=(Expert("high_noise", 3.5, 900.0), Expert("low_noise", 3.5)),
            steps=40,
            shift=5.0,
            num_frames=81,
            fps=16,
            sizes=((1280, 720), (720, 1280), (832, 480), (480, 832)),
        ),
        Preset(
            id="wan2.2-ti2v-5b",
            title="Wan 2.2 text and image to video 5B",
            task="ti2v",
            experts=(Expert("transformer", 5.0),),
            steps=50,
            shift=5.0,
            num_frames=121,
            fps=24,
            sizes=((1280, 704), (704, 1280)),
            vae="wan22",
        ),
        Preset(
            id="wan2.1-t2v-1.3b",
            title="Wan 2.1 text to video 1.3B",
            task="t2v",
            experts=(Expert("transformer", 5.0),),
            steps=50,
            shift=5.0,
            num_frames=81,
            fps=16,
            sizes=((832, 480), (480, 832)),
        ),
        Preset(
            id=EMBEDDED,
            title="wan-mini, the small embedded model (abstract motion backgrounds)",
            task="t2v",
            experts=(Expert("high_noise", 4.0, 875.0), Expert("low_noise", 4.0)),
            steps=20,
            shift=3.0,
            num_frames=17,
            fps=16,
            sizes=((64, 64), (80, 48), (48, 80)),
            loops=True,
            stretch=3.0,
            format="wide",
        ),
    )
}
