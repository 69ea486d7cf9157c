"""The key tables on full-size lists: every name there and back, in every layout."""

from dataclasses import replace

import numpy as np
import pytest
from checkpoints import TEXT_ENCODER, TRANSFORMER, VAE21, VAE22, random_weights, to_layout

from mlx_wan.convert.families import FORMATS, from_ours, to_ours
from mlx_wan.convert.keys_wan import LAYOUTS
from mlx_wan.convert.sizes import expected_shapes, network_config
from mlx_wan.errors import BadFileError
from mlx_wan.models.umt5 import UMT5Config
from mlx_wan.models.vae_wan21 import WanVAE21Config
from mlx_wan.models.vae_wan22 import WanVAE22Config
from mlx_wan.models.wan import WanConfig

FULL = {
    "t2v-a14b": ("wan_transformer", WanConfig(5120, 13824, 40, 40, 16, 16, 4096), 1095),
    "i2v-a14b": ("wan_transformer", WanConfig(5120, 13824, 40, 40, 36, 16, 4096), 1095),
    "ti2v-5b": ("wan_transformer", WanConfig(3072, 14336, 24, 30, 48, 48, 4096), 825),
    "t2v-1.3b": ("wan_transformer", WanConfig(1536, 8960, 12, 30, 16, 16, 4096), 825),
    "umt5-xxl": ("umt5", UMT5Config(256384, 4096, 4096, 10240, 64, 24), 242),
    "vae 2.1": ("wan_vae21", WanVAE21Config(), 194),
    "vae 2.2": ("wan_vae22", WanVAE22Config(), 196),
}
SMALL_VAE = replace(VAE21, num_res_blocks=1, dim_mult=(1, 2, 4), temporal_downsample=(False, True))
STORED = {"patch_embedding.weight": (128, 16, 1, 2, 2)}
PARAMETERS = {
    "t2v-a14b": 14_288_491_584,
    "i2v-a14b": 14_288_901_184,
    "ti2v-5b": 4_999_787_712,
    "t2v-1.3b": 1_418_996_800,
    "vae 2.1": 126_892_531,
    "vae 2.2": 704_688_668,
}


def settings_of(network, config):
    return {"patch_size": list(config.patch_size)} if network == "wan_transformer" else {}


@pytest.mark.parametrize("variant", FULL)
def test_sizes_are_those_of_the_published_models(variant):
    network, config, tensors = FULL[variant]
    shapes = expected_shapes(network, config)
    assert len(shapes) == tensors
    if variant in PARAMETERS:
        assert sum(int(np.prod(shape)) for shape in shapes.values()) == PARAMETERS[variant]


@pytest.mark.parametrize("layout", LAYOUTS[1:])
@pytest.mark.parametrize("variant", FULL)
def test_names_map_one_to_one_and_back(variant, layout):
    network, config, tensors = FULL[variant]
    ours = list(expected_shapes(network, config))
    foreign = from_ours(network, layout, ours)
    assert list(foreign) == ours
    back = {share.name: [name] for name, share in foreign.items()}
    assert len(back) == tensors
    assert to_ours(network, layout, back) == back


CONFUSING = """
wan_transformer original  blocks.7.ffn.fc2.bias blocks.7.ffn.2.bias
wan_transformer original  time_projection.weight time_projection.1.weight
wan_transformer diffusers blocks.7.norm3.weight blocks.7.norm2.weight
wan_transformer diffusers head.modulation scale_shift_table
wan_transformer diffusers blocks.0.modulation blocks.0.scale_shift_table
wan_transformer diffusers blocks.0.self_attn.o.bias blocks.0.attn1.to_out.0.bias
wan_transformer mlx-video text_embedding.fc2.weight text_embedding_1.weight
umt5 original  blocks.3.ffn.gate.weight blocks.3.ffn.gate.0.weight
umt5 original  blocks.3.pos_embedding.weight blocks.3.pos_embedding.embedding.weight
umt5 diffusers norm.weight encoder.final_layer_norm.weight
wan_vae21 original  decoder.upsamples.4.conv2.bias decoder.upsamples.4.residual.6.bias
wan_vae21 diffusers decoder.upsamples.3.conv.bias decoder.up_blocks.0.upsamplers.0.resample.1.bias
wan_vae21 diffusers decoder.upsamples.13.norm2.gamma decoder.up_blocks.3.resnets.1.norm2.gamma
wan_vae22 mlx-video encoder.middle.1.to_qkv.weight encoder.middle.1.to_qkv_weight
wan_vae22 mlx-video decoder.head.norm.gamma decoder.head.layer_0.gamma
"""


@pytest.mark.parametrize("row", CONFUSING.strip().splitlines())
def test_names_that_are_easily_confused(row):
    network, layout, ours, theirs = row.split()
    assert from_ours(network, layout, [ours])[ours].name == theirs
    assert to_ours(network, layout, [theirs]) == {theirs: [ours]}


def test_unknown_names_are_left_out_not_guessed():
    names = [
        "blocks.0.ffn.1.weight",
        "blocks.01.ffn.0.weight",
        "blocks.0.norm3",
        "x.head.modulation",
    ]
    assert to_ours("wan_transformer", "original", names) == {}


@pytest.mark.parametrize("layout", LAYOUTS[1:])
@pytest.mark.parametrize(
    ("network", "config"),
    [
        ("wan_transformer", TRANSFORMER),
        ("wan_transformer", replace(TRANSFORMER, patch_size=(2, 1, 4))),
        ("umt5", TEXT_ENCODER),
        ("wan_vae21", VAE21),
        ("wan_vae21", SMALL_VAE),
        ("wan_vae22", VAE22),
        ("wan_vae22", replace(VAE22, num_res_blocks=3)),
    ],
)
def test_axes_there_and_back(network, config, layout):
    form, settings = FORMATS[network], settings_of(network, config)
    for name, array in random_weights(network, config, 0).items():
        shape = form.foreign_shape(name, array.shape, layout, settings)
        order = form.reorder(name, shape, layout, settings)
        assert order.shape == array.shape
        np.testing.assert_array_equal(order.apply(order.undo(array).reshape(shape)), array)


def test_a_patch_is_flattened_channels_last():
    weight = np.arange(2 * 3 * 1 * 2 * 2).reshape(2, 3, 1, 2, 2)  # (dim, C, pt, ph, pw)
    form = FORMATS["wan_transformer"]
    order = form.reorder("patch_embedding.weight", weight.shape, "original", {})
    ours = order.apply(weight)
    assert ours.shape == (2, 12)
    np.testing.assert_array_equal(ours[0], [0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11])


@pytest.mark.parametrize("layout", LAYOUTS[1:])
@pytest.mark.parametrize("variant", FULL)
def test_the_config_is_read_from_the_shapes_alone(variant, layout):
    network, config, _ = FULL[variant]
    shapes = expected_shapes(network, config)
    settings = settings_of(network, config)
    form = FORMATS[network]
    stored = {n: form.foreign_shape(n, shape, layout, settings) for n, shape in shapes.items()}
    assert network_config(network, shapes, stored, {}, "x") == config


def test_what_shapes_cannot_tell_comes_from_the_config():
    shapes = expected_shapes("wan_transformer", TRANSFORMER)
    settings = {"num_heads": 4, "text_len": 77, "eps": 1e-5}
    read = network_config("wan_transformer", shapes, STORED, settings, "x")
    assert (read.num_heads, read.text_len, read.eps) == (4, 77, 1e-5)


def test_diffusers_numbers_depend_on_the_residual_blocks():
    config = replace(VAE21, num_res_blocks=1)
    weights = random_weights("wan_vae21", config, 0)
    names = from_ours("wan_vae21", "diffusers", weights)
    assert names["decoder.upsamples.2.conv.bias"].name == (
        "decoder.up_blocks.0.upsamplers.0.resample.1.bias"
    )
    back = {share.name: [name] for name, share in names.items()}
    assert to_ours("wan_vae21", "diffusers", back) == back


def test_a_gap_in_the_blocks_is_noticed():
    shapes = dict(expected_shapes("wan_transformer", replace(TRANSFORMER, num_layers=3)))
    for name in [name for name in shapes if name.startswith("blocks.1.")]:
        del shapes[name]
    with pytest.raises(BadFileError, match=r"blocks\.1 is missing"):
        network_config("wan_transformer", shapes, STORED, {}, "x")


def test_layouts_differ_where_they_should():
    weights = random_weights("wan_vae21", VAE21, 0)
    original = to_layout("wan_vae21", weights, "original")
    theirs = to_layout("wan_vae21", weights, "mlx-video")
    name = "decoder.conv1.weight"
    np.testing.assert_array_equal(original[name].transpose(0, 2, 3, 4, 1), theirs[name])
    assert original["decoder.head.0.gamma"].shape == (8, 1, 1, 1)
    assert original["encoder.middle.1.norm.gamma"].shape == (32, 1, 1)
