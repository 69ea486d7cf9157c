"""Every network of every preset at its published size, in every layout, without a weight: told by
its names, its config read from the shapes alone, every tensor ours and none left over."""

from dataclasses import replace
from itertools import pairwise
from math import prod
from pathlib import Path

import pytest

from mlx_wan import published
from mlx_wan.convert.discover import Checkpoint, Place
from mlx_wan.convert.families import FAMILIES, FORMATS, foreign_shapes
from mlx_wan.convert.quantize import is_quantized
from mlx_wan.convert.recognise import layouts_of, read_as
from mlx_wan.convert.sizes import expected_shapes, network_config
from mlx_wan.errors import BadFileError
from mlx_wan.loading import published_config
from mlx_wan.models import NETWORKS, TOKENIZERS
from mlx_wan.presets import PRESETS
from mlx_wan.tensorfile import TensorInfo

# of its last two layers nothing is read, so they are in no config of ours
LEFT_OUT = {"qwen25vl": 2}


def _published():
    """(network, config) of every component, each once."""
    found = {}
    for preset in PRESETS.values():
        for name, (network, _) in preset.components.items():
            if network not in TOKENIZERS and preset.id != "wan-mini":
                config = published_config(preset, name)
                found[f"{network} {config}"] = (network, config)
    return list(found.values())


CASES = [
    pytest.param(network, config, layout, id=f"{network}-{number}-{layout}")
    for number, (network, config) in enumerate(_published())
    for layout in FORMATS[network].signatures
]


def checkpoint(shapes):
    """One whose tensors have these shapes and lie in no file."""
    places, start = {}, 0
    for name, shape in shapes.items():
        end = start + 4 * prod(shape)
        places[name] = Place(Path("x"), name, TensorInfo("F32", shape, start, end))
        start = end
    return Checkpoint(Path("x"), places, (Path("x"),))


@pytest.mark.parametrize(("network", "config", "layout"), CASES)
def test_published_sizes_are_read_from_names_and_shapes(network, config, layout):
    whole = config
    if network in LEFT_OUT:
        whole = replace(config, num_layers=config.num_layers + LEFT_OUT[network])
    theirs = foreign_shapes(network, layout, expected_shapes(network, whole))
    one = checkpoint(theirs)
    layouts = layouts_of(one)
    assert layouts[network] == layout
    assert set(layouts) <= {network, "t5", "byt5"}  # nothing but its size tells these apart
    found = read_as(network, layout, one)
    ours = expected_shapes(network, config)
    assert found.tensors.keys() == ours.keys()
    form = FORMATS[network]
    orders = {
        name: form.reorder(name, place.info.shape, found.layout, {})
        for name, place in found.tensors.items()
    }
    shapes = {name: order.shape for name, order in orders.items()}
    assert shapes == ours
    stored = {name: place.info.shape for name, place in found.tensors.items()}
    assert network_config(network, shapes, stored, {}, "x") == config
    # every byte that is kept belongs to one tensor of ours
    kept = [name for name in theirs if name not in found.dropped]
    ranges = sorted((place.info.start, place.info.end) for place in found.tensors.values())
    assert sum(end - start for start, end in ranges) == sum(4 * prod(theirs[n]) for n in kept)
    assert all(a[1] <= b[0] for a, b in pairwise(ranges))
    assert bool(found.dropped) == (network in LEFT_OUT)


@pytest.mark.parametrize(("network", "config"), {n: (n, c) for n, c in _published()}.values())
def test_what_is_quantised_is_what_plans_count_on(network, config):
    """Plans of models that are not converted yet have their own rule for it."""
    shapes = expected_shapes(network, config)
    chosen = {name for name in shapes if is_quantized(network, name)}
    assert all(shapes[name][1] % 64 == 0 for name in chosen)
    if FORMATS[network].quantized is None:
        assert not chosen
        return
    assert chosen == {n for n, shape in shapes.items() if published._is_quantized(n, shape)}


def test_what_the_engine_would_not_open_is_not_converted():
    """Its bounds hold for whatever the tensors say."""
    config = published_config(PRESETS["mochi-1"], "text_encoder")
    shapes = expected_shapes("t5", config)
    shapes["token_embedding.weight"] = (2**20 + 1, config.dim)
    with pytest.raises(BadFileError, match="vocab_size"):
        network_config("t5", shapes, shapes, {}, "x")


def test_every_network_has_a_format_and_every_preset_a_family():
    assert set(FORMATS) == set(NETWORKS) - {"hunyuan_upsampler"}
    titles = [family.title for family in FAMILIES]
    assert len(set(titles)) == len(titles)
    known = {form.network for family in FAMILIES for form in family.formats}
    assert known == set(FORMATS)
    for family in FAMILIES:
        assert set(family.split_files) <= set(PRESETS)


@pytest.mark.parametrize("network", FORMATS)
def test_every_layout_of_a_signature_is_a_column(network):
    form = FORMATS[network]
    assert form.layouts[0] == "ours" and set(form.signatures) <= set(form.layouts[1:])
    assert all(len(row) == len(form.layouts) for row in form.rows([]))
