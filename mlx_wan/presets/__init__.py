"""The models we know, as data: networks, official defaults, sizes; a file for each family.

A checkpoint is converted by what its own tensors and settings say; the networks here are those of
the published ones, so that a model can be planned before anything is downloaded.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mlx_wan.models import TOKENIZERS

EMBEDDED = "wan-mini"  # comes with the package, for as long as no other model is installed

# name of a component -> its network (models/__init__.py), and where its published config is another
# than the network's defaults
Components = Mapping[str, tuple[str, Mapping[str, Any]]]


@dataclass(frozen=True)
class Expert:
    """One denoising network and the noise levels it is for.

    `from_timestep` is the lowest timestep (0..1000) this expert handles.
    """

    name: str
    guidance_scale: float
    from_timestep: float = 0.0


@dataclass(frozen=True)
class LinearQuadratic:
    """A schedule of even steps from sigma 1 to 1 - threshold, then of a parabola to 0.

    `linear_share` of the steps are even ones.
    """

    threshold: float
    linear_share: float


@dataclass(frozen=True)
class Preset:
    """Defaults of one published model. `experts` are in the order they run, noisiest first.

    `family` names the file in conditioning/ that knows its prompts and images. Sigmas are spaced
    evenly and then shifted, or by `schedule`, which has no shift. `whole_steps` when the network is
    told where a step leads to and predicts all of it: no solver but `solver` is right then.

    For the studio: `loops` when the last frame leads back to the first, `stretch` how much slower
    than `fps` it is played, `format` what is delivered when nobody asks for a size.
    """

    id: str
    title: str
    family: str
    task: str  # "t2v", "i2v", "ti2v" or "sr"
    components: Components
    experts: tuple[Expert, ...]
    steps: int
    num_frames: int
    fps: int
    sizes: tuple[tuple[int, int], ...]  # (width, height), the first is the default
    solver: str
    negative_prompt: str
    shift: float = 1.0
    schedule: LinearQuadratic | None = None
    whole_steps: bool = False
    takes_last_image: bool = False
    continues: tuple[str, ...] = ()  # the presets whose videos it makes larger; nothing alone
    loops: bool = False
    stretch: float = 1.0
    format: str | None = None

    @property
    def takes_image(self) -> bool:
        return self.task in ("i2v", "ti2v")

    def encoders(self, image: bool) -> list[str]:
        """The components that read the prompt and, with one, the image."""
        own = {"vae", *(expert.name for expert in self.experts)}
        own |= {name for name, (network, _) in self.components.items() if network in TOKENIZERS}
        return [n for n in self.components if n not in own and (image or n != "image_encoder")]


def _presets() -> dict[str, Preset]:
    from . import hunyuan, mochi, wan  # they need Preset

    presets = (*wan.PRESETS, *mochi.PRESETS, *hunyuan.PRESETS)
    return {preset.id: preset for preset in presets}


PRESETS = _presets()
