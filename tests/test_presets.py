"""Presets, their networks and their families: what the rest of the engine relies on."""

import ast
from pathlib import Path

import pytest

import mlx_wan.bench
import mlx_wan.cli
import mlx_wan.convert
from mlx_wan.conditioning import family
from mlx_wan.loading import network_module, published_config
from mlx_wan.models import NETWORKS, TOKENIZERS
from mlx_wan.planning import SUGGESTED, schedule_for
from mlx_wan.presets import EMBEDDED, PRESETS
from mlx_wan.published import published_folder

READS = ("encode_prompt", "text_memory", "text_tokens", "text_work")
LOOKS = ("encode_image", "image_frames", "image_size")
FAMILIES = sorted({preset.family for preset in PRESETS.values()})
PLACES = {
    "engine": Path(mlx_wan.__file__).parent,
    "cli": Path(mlx_wan.cli.__file__).parent,
    "convert": Path(mlx_wan.convert.__file__).parent,
    **{
        f"bench/{name}": Path(mlx_wan.bench.__file__).parent / name
        for name in ("ab", "metrics", "report")
    },
}
# what may know a family: its networks, its presets, its prompts and images, its checkpoints
OWN: dict[str, tuple[str, ...]] = dict.fromkeys(PLACES, ()) | {
    "engine": ("models", "presets", "conditioning"),
    "convert": (
        *("t5.py", "tokenizers.py"),
        *(file.name for name in ("keys", *FAMILIES) for file in PLACES["convert"].glob(f"{name}*")),
    ),
}
MEASURES = ("calibrate.py", "kernels.py")  # of single layers, for which they take real ones


@pytest.mark.parametrize("name", PRESETS)
def test_the_published_networks_fit_together(name):
    preset = PRESETS[name]
    configs = {
        part: published_config(preset, part)
        for part, (network, _) in preset.components.items()
        if network not in TOKENIZERS
    }
    for expert in preset.experts:
        config = configs[expert.name]
        assert config.out_dim == configs["vae"].z_dim
        for part, width in config.encoder_dims.items():
            assert part not in configs or configs[part].dim == width
    stride, patch = configs["vae"].stride, configs[preset.experts[0].name].patch_size
    assert (preset.num_frames - 1) % stride[0] == 0
    for width, height in preset.sizes:
        assert width % (stride[2] * patch[2]) == 0 and height % (stride[1] * patch[1]) == 0


@pytest.mark.parametrize("name", PRESETS)
def test_a_family_has_all_that_its_presets_ask_for(name):
    preset = PRESETS[name]
    asked = READS + (LOOKS if preset.takes_image else ())
    assert [function for function in asked if not hasattr(family(preset), function)] == []


@pytest.mark.parametrize("name", PRESETS)
def test_networks_tell_what_they_cost(name):
    preset = PRESETS[name]
    folder = published_folder(preset)
    transformer = network_module(folder[preset.experts[0].name])
    costs = ("forward_flops", "forward_work", "condition_work", "denoise_memory")
    assert [one for one in (*costs, "conditioning_memory") if not hasattr(transformer, one)] == []
    vae = network_module(folder["vae"])
    costs = ("decode_memory", "decode_share", "decode_work", "encode_memory", "encode_share")
    assert [one for one in (*costs, "encode_work") if not hasattr(vae, one)] == []


@pytest.mark.parametrize("name", PRESETS)
def test_default_schedules_fall_from_noise_to_nothing(name):
    preset = PRESETS[name]
    schedule = schedule_for(preset, preset.solver, preset.steps, preset.shift)
    assert schedule.steps == preset.steps and schedule.sigmas[-1] == 0
    assert list(schedule.sigmas) == sorted(set(schedule.sigmas), reverse=True)


def test_nobody_else_knows_a_network_a_family_or_its_models_by_name():
    """A family is its networks, presets, conditioning and convert file; else it is special-cased.

    wan-mini comes with the package, and one model is suggested to who has none: they are no family.
    """
    known = {*NETWORKS, *TOKENIZERS, *FAMILIES, *PRESETS} - {EMBEDDED, SUGGESTED}
    known |= {f"mlx_wan.models.{module}" for module, _, _ in NETWORKS.values()}
    found = [
        f"{place}/{file.relative_to(folder)}: {word}"
        for place, folder in PLACES.items()
        for file in sorted(folder.rglob("*.py"))
        if file.relative_to(folder).parts[0] not in OWN[place] and file.name not in MEASURES
        for word in sorted(_words(file) & known)
    ]
    assert found == []


def _words(file: Path) -> set[str]:
    """The texts in the code of a file, and what it imports of ours."""
    nodes = list(ast.walk(ast.parse(file.read_text("utf-8"))))
    texts = {n.value for n in nodes if isinstance(n, ast.Constant) and isinstance(n.value, str)}
    imports = {n.module for n in nodes if isinstance(n, ast.ImportFrom) and n.module}
    imports |= {a.name for n in nodes if isinstance(n, ast.Import) for a in n.names}
    return texts | {name for name in imports if "." in name}
