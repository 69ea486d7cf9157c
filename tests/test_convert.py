"""Conversion as a whole: every layout and model, precision, shards, quantisation."""

import json
from dataclasses import replace

import mlx.core as mx
import numpy as np
import pytest
from checkpoints import (
    LAYOUTS,
    MODELS,
    TRANSFORMER,
    build,
    configs,
    original_config,
    random_weights,
    spiece_model,
    to_layout,
    write_fp8_scaled,
    write_json,
    write_pth,
    write_safetensors,
)

from mlx_wan import __version__
from mlx_wan.bench.synthetic import as_dtype
from mlx_wan.convert import convert, verify
from mlx_wan.convert import write as writing
from mlx_wan.errors import BadFileError, ModelError
from mlx_wan.files import file_sha256
from mlx_wan.loading import load_network, open_model
from mlx_wan.tensorfile import read_header


def stored(folder, component):
    """The tensors of a component as MLX loads them."""
    tensors = {}
    for file in open_model(folder)[component].files:
        tensors |= mx.load(str(file))
    return tensors


def numbers(array):
    return np.array(array.astype(mx.float32))


def rounded(array, dtype):
    """What is left of float32 values in a 16-bit dtype of a source file."""
    kept = as_dtype(array, dtype)
    if dtype == "BF16":
        return (kept.astype(np.uint32) << 16).view(np.float32)
    return kept.astype(np.float32)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("model", MODELS)
def test_every_layout_of_every_model_arrives_exactly(model, layout, tmp_path):
    weights = build(tmp_path / "source", model, layout, shards=2)
    convert(tmp_path / "source", tmp_path / "made", dtype="fp32")
    folder = open_model(tmp_path / "made")
    assert folder.preset.id == model
    assert verify(tmp_path / "made") == []
    precision = {"text_encoder": "F16" if layout == "comfyui" else "BF16"}
    precision["vae"] = "F16" if layout == "comfyui" else "F32"
    for component, tensors in weights.items():
        found = stored(tmp_path / "made", component)
        assert found.keys() == tensors.keys()
        for name, values in tensors.items():
            meant = rounded(values, precision.get(component, "F32"))
            np.testing.assert_array_equal(numbers(found[name]), meant, err_msg=name)
        load_network(folder[component])  # strictly
    assert not (tmp_path / "made.partial").exists()


def test_config_says_what_it_is_and_where_it_came_from(tmp_path):
    build(tmp_path / "source", "wan2.2-i2v-a14b", shards=2)
    convert(tmp_path / "source", tmp_path / "made")
    config = json.loads((tmp_path / "made" / "config.json").read_text())
    assert config["format"] == "mlx-wan" and config["format_version"] == 1
    assert config["mlx_wan_version"] == __version__ and config["model"] == "wan2.2-i2v-a14b"
    networks = {name: part["network"] for name, part in config["components"].items()}
    assert networks == {
        "high_noise": "wan_transformer",
        "low_noise": "wan_transformer",
        "text_encoder": "umt5",
        "vae": "wan_vae21",
        "tokenizer": "sentencepiece",
    }
    high = config["components"]["high_noise"]
    assert (high["config"]["in_dim"], high["config"]["text_len"]) == (36, 32)
    assert (high["dtype"], high["quantization"]) == ("bfloat16", None)
    assert config["source"]["layout"] == "original"
    assert config["dropped"] == []
    for name, told in config["source"]["files"].items():
        file = tmp_path / "source" / name
        assert told == {"size": file.stat().st_size, "sha256": file_sha256(file)}
    assert "google/umt5-xxl/spiece.model" in config["source"]["files"]
    assert "low_noise_model/config.json" in config["source"]["files"]
    on_disk = {
        path.relative_to(tmp_path / "made").as_posix()
        for path in (tmp_path / "made").rglob("*")
        if path.is_file()
    }
    assert on_disk == {"config.json", *config["files"]}
    for name, told in config["files"].items():
        assert told["sha256"] == file_sha256(tmp_path / "made" / name)
    assert (tmp_path / "made" / "tokenizer" / "spiece.model").read_bytes() == spiece_model()


@pytest.mark.parametrize(("dtype", "kind"), [("bf16", "BF16"), ("fp16", "F16")])
def test_16_bits_round_to_nearest_and_keep_norms_and_vae(dtype, kind, tmp_path):
    weights = build(tmp_path / "source", "wan2.1-t2v-1.3b")
    convert(tmp_path / "source", tmp_path / "made", dtype=dtype)
    header = read_header(tmp_path / "made" / "transformer" / "model-00001-of-00001.safetensors")
    found = stored(tmp_path / "made", "transformer")
    for name, values in weights["transformer"].items():
        exact = "norm" in name or name.endswith("modulation")
        assert header[name].dtype == ("F32" if exact else kind), name
        meant = values if exact else rounded(values, kind)
        np.testing.assert_array_equal(numbers(found[name]), meant, err_msg=name)
    vae = stored(tmp_path / "made", "vae")
    assert {value.dtype for value in vae.values()} == {mx.float32}  # its reference precision
    assert {value.dtype for value in stored(tmp_path / "made", "text_encoder").values()} == {
        mx.bfloat16 if kind == "BF16" else mx.float16
    }


def test_rounding_matches_mlx_at_ties_and_extremes(tmp_path):
    weights = build(tmp_path / "source", "wan2.1-t2v-1.3b")
    tricky = np.array([0x3F808000, 0x3F818000, 0x3F817FFF, 0x7F7FFFFF, 0x00000001, 0x80000000])
    bits = np.resize(tricky.astype(np.uint32), weights["transformer"]["head.head.bias"].shape)
    values = dict(weights["transformer"])
    values["head.head.bias"] = bits.view(np.float32)
    foreign = to_layout("wan_transformer", values, "original")
    write_safetensors(tmp_path / "source" / "diffusion_pytorch_model.safetensors", foreign)
    convert(tmp_path / "source", tmp_path / "made")
    found = stored(tmp_path / "made", "transformer")["head.head.bias"]
    meant = mx.array(values["head.head.bias"]).astype(mx.bfloat16)
    assert mx.array_equal(found.view(mx.uint16), meant.view(mx.uint16))


@pytest.mark.parametrize(("part", "options"), [("bias", {}), ("weight", {"quantize": 8})])
def test_values_beyond_float16_are_refused_not_made_infinite(part, options, tmp_path):
    weights = build(tmp_path / "source", "wan2.1-t2v-1.3b")["transformer"]
    weights[f"blocks.1.ffn.fc2.{part}"].reshape(-1)[3] = 70_000
    foreign = to_layout("wan_transformer", weights, "original")
    write_safetensors(tmp_path / "source" / "diffusion_pytorch_model.safetensors", foreign)
    with pytest.raises(BadFileError, match=rf"blocks\.1\.ffn\.fc2\.{part}.*beyond float16"):
        convert(tmp_path / "source", tmp_path / "made", dtype="fp16", **options)
    assert not (tmp_path / "made").exists()
    convert(tmp_path / "source", tmp_path / "bf16")


def test_shards_are_split_at_the_limit(tmp_path, monkeypatch):
    build(tmp_path / "source", "wan2.1-t2v-1.3b")
    monkeypatch.setattr(writing, "SHARD_BYTES", 200_000)
    convert(tmp_path / "source", tmp_path / "made")
    config = json.loads((tmp_path / "made" / "config.json").read_text())
    files = config["components"]["transformer"]["files"]
    assert len(files) > 3
    assert files[0] == f"transformer/model-00001-of-{len(files):05}.safetensors"
    folder = tmp_path / "made" / "transformer"
    index = json.loads((folder / "model.safetensors.index.json").read_text())
    listed: dict[str, str] = {}
    for file in files:
        header = read_header(tmp_path / "made" / file)
        listed |= dict.fromkeys(header, file.split("/")[1])
        assert (tmp_path / "made" / file).stat().st_size <= 200_000 or len(header) == 1
    assert index["weight_map"] == listed
    assert verify(tmp_path / "made") == []
    load_network(open_model(tmp_path / "made")["transformer"])


@pytest.mark.parametrize("modern", [False, True])
def test_comfyui_float8_is_scaled_back(modern, tmp_path):
    weights = build(tmp_path / "source", "wan2.1-t2v-1.3b", "comfyui")
    file = next((tmp_path / "source" / "diffusion_models").iterdir())
    foreign = to_layout("wan_transformer", weights["transformer"], "original")
    meant = write_fp8_scaled(file, "wan_transformer", foreign, modern=modern)
    convert(tmp_path / "source", tmp_path / "made", dtype="fp32")
    found = stored(tmp_path / "made", "transformer")
    again = to_layout("wan_transformer", {n: numbers(v) for n, v in found.items()}, "original")
    for name, values in meant.items():
        np.testing.assert_array_equal(again[name], values, err_msg=name)
    assert len({*found}) == len(foreign)
    dropped = json.loads((tmp_path / "made" / "config.json").read_text())["dropped"]
    names = {entry["name"] for entry in dropped}
    helpers = ("weight_scale", "input_scale") if modern else ("scale_weight", "scale_input")
    assert {f"blocks.0.ffn.0.{helper}" for helper in helpers} <= names
    assert ("blocks.0.ffn.0.comfy_quant" if modern else "scaled_fp8") in names
    assert all(entry["reason"] for entry in dropped)


def test_float8_without_scales_is_taken_as_it_is(tmp_path):
    weights = build(tmp_path / "source", "wan2.1-t2v-1.3b", "comfyui")["transformer"]
    file = next((tmp_path / "source" / "diffusion_models").iterdir())
    foreign = to_layout("wan_transformer", weights, "original")
    write_safetensors(file, foreign, dict.fromkeys(["blocks.0.ffn.0.weight"], "F8_E4M3"))
    convert(tmp_path / "source", tmp_path / "made", dtype="fp32")
    codes = mx.to_fp8(mx.array(weights["blocks.0.ffn.fc1.weight"]))
    found = stored(tmp_path / "made", "transformer")["blocks.0.ffn.fc1.weight"]
    assert mx.array_equal(found, mx.from_fp8(codes, mx.float32))


def test_comfyui_folder_may_be_flat_and_keys_may_have_a_prefix(tmp_path):
    weights = build(tmp_path / "tree", "wan2.2-t2v-a14b", "comfyui")
    flat = tmp_path / "flat"
    flat.mkdir()
    for file in (tmp_path / "tree").rglob("*.safetensors"):
        file.rename(flat / file.name)
    high = next(flat.glob("*high_noise*"))
    foreign = to_layout("wan_transformer", weights["high_noise"], "original")
    prefixed = {f"model.diffusion_model.{name}": array for name, array in foreign.items()}
    write_safetensors(high, prefixed, "F16")
    convert(flat, tmp_path / "made", dtype="fp32")
    found = stored(tmp_path / "made", "high_noise")
    for name, values in weights["high_noise"].items():
        np.testing.assert_array_equal(numbers(found[name]), rounded(values, "F16"))


def test_one_file_may_hold_all_networks(tmp_path):
    """ComfyUI checkpoints: transformer, VAE and text encoder by prefix."""
    weights = build(tmp_path / "parts", "wan2.2-ti2v-5b", "comfyui")
    everything = {}
    for component, prefix in (
        ("transformer", "model.diffusion_model."),
        ("vae", "first_stage_model."),
        ("text_encoder", "text_encoders.umt5xxl.transformer."),
    ):
        network = configs("wan2.2-ti2v-5b")[component][0]
        foreign = to_layout(network, weights[component], "comfyui")
        everything |= {prefix + name: array for name, array in foreign.items()}
    name = "text_encoders.umt5xxl.transformer.spiece_model"
    everything[name] = np.frombuffer(spiece_model(), np.uint8)
    write_safetensors(tmp_path / "all.safetensors", everything, "F16")
    convert(tmp_path / "all.safetensors", tmp_path / "made", dtype="fp32")
    for component, tensors in weights.items():
        for name, array in stored(tmp_path / "made", component).items():
            np.testing.assert_array_equal(numbers(array), rounded(tensors[name], "F16"))
    assert verify(tmp_path / "made") == []


def test_a_file_may_be_a_link_as_in_the_cache_of_the_hub(tmp_path):
    build(tmp_path / "blobs", "wan2.1-t2v-1.3b", "diffusers")
    for file in [path for path in (tmp_path / "blobs").rglob("*") if path.is_file()]:
        link = tmp_path / "snapshot" / file.relative_to(tmp_path / "blobs")
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(file)
    convert(tmp_path / "snapshot", tmp_path / "made")
    assert verify(tmp_path / "made") == []


def test_shards_without_an_index_belong_together_by_their_numbers(tmp_path):
    weights = build(tmp_path / "source", "wan2.1-t2v-1.3b", shards=3)
    (tmp_path / "source" / "diffusion_pytorch_model.safetensors.index.json").unlink()
    convert(tmp_path / "source", tmp_path / "made", dtype="fp32")
    found = stored(tmp_path / "made", "transformer")
    assert found.keys() == weights["transformer"].keys()


def test_a_tied_embedding_is_used_once(tmp_path):
    weights = build(tmp_path / "source", "wan2.1-t2v-1.3b", "diffusers")["text_encoder"]
    file = tmp_path / "source" / "text_encoder" / "model.safetensors"
    foreign = to_layout("umt5", weights, "diffusers")
    tied = {"encoder.embed_tokens.weight": foreign["shared.weight"]}
    write_safetensors(file, foreign | tied, "BF16")
    convert(tmp_path / "source", tmp_path / "both")
    dropped = json.loads((tmp_path / "both" / "config.json").read_text())["dropped"]
    assert [entry["name"] for entry in dropped] == ["encoder.embed_tokens.weight"]
    del foreign["shared.weight"]
    write_safetensors(file, foreign | tied, "BF16")
    convert(tmp_path / "source", tmp_path / "one")
    one, both = (stored(tmp_path / name, "text_encoder") for name in ("one", "both"))
    assert mx.array_equal(one["token_embedding.weight"], both["token_embedding.weight"])


def test_sizes_come_from_the_checkpoint_not_from_constants(tmp_path):
    """Odd widths, more layers than usual, a text length and heads from config.json."""
    config = replace(
        TRANSFORMER, dim=96, ffn_dim=80, num_heads=4, num_layers=3, text_len=19, freq_dim=32
    )
    build(tmp_path / "source", "wan2.1-t2v-1.3b")
    weights = random_weights("wan_transformer", config, 9)
    foreign = to_layout("wan_transformer", weights, "original")
    write_safetensors(tmp_path / "source" / "diffusion_pytorch_model.safetensors", foreign)
    write_json(tmp_path / "source" / "config.json", original_config("wan2.1-t2v-1.3b", config))
    convert(tmp_path / "source", tmp_path / "made", dtype="fp32")
    network = load_network(open_model(tmp_path / "made")["transformer"])
    assert network.config == config


def test_latent_statistics_of_a_diffusers_vae_are_taken_over(tmp_path):
    build(tmp_path / "source", "wan2.1-t2v-1.3b", "diffusers")
    file = tmp_path / "source" / "vae" / "config.json"
    settings = json.loads(file.read_text())
    settings["latents_mean"] = [0.5] * 16
    write_json(file, settings)
    convert(tmp_path / "source", tmp_path / "made")
    config = json.loads((tmp_path / "made" / "config.json").read_text())
    assert config["components"]["vae"]["config"]["latents_mean"] == [0.5] * 16


def test_a_pth_may_share_and_stride_its_storages(tmp_path):
    """channels_last weights and views, as the recorded file of torch.save has them."""
    weights = build(tmp_path / "source", "wan2.1-t2v-1.3b")["vae"]
    foreign = to_layout("wan_vae21", weights, "original")
    path = tmp_path / "source" / "Wan2.1_VAE.pth"
    write_strided(path, foreign)
    convert(tmp_path / "source", tmp_path / "made")
    found = stored(tmp_path / "made", "vae")
    for name, values in weights.items():
        np.testing.assert_array_equal(numbers(found[name]), values, err_msg=name)


def write_strided(path, tensors):
    """Convolutions channels-last in their storage, and two tensors in one storage."""
    import zipfile

    from mlx_wan.bench.synthetic import pickled_tensor, text

    items, storages = b"", []
    twin = ("conv2.bias", "encoder.conv1.bias")
    joined = np.concatenate([tensors[name] for name in twin])
    for name, array in tensors.items():
        key = str(len(storages))
        if name in twin:
            key, offset = "joined", 0 if name == twin[0] else len(tensors[twin[0]])
            items += text(name) + pickled_tensor(key, array.shape, numel=len(joined), offset=offset)
            continue
        if array.ndim == 5:
            last = np.ascontiguousarray(array.transpose(0, 2, 3, 4, 1))
            strides = tuple(step // 4 for step in last.transpose(0, 4, 1, 2, 3).strides)
            items += text(name) + pickled_tensor(key, array.shape, strides=strides)
            storages.append(last)
        else:
            items += text(name) + pickled_tensor(key, array.shape)
            storages.append(array)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/data.pkl", b"\x80\x02}(" + items + b"u.")
        archive.writestr("a/data/joined", joined.tobytes())
        for key, array in enumerate(storages):
            archive.writestr(f"a/data/{key}", np.ascontiguousarray(array).tobytes())


def test_memory_is_a_few_pieces_not_a_tensor(tmp_path, monkeypatch):
    """With pieces of 4 kB every tensor takes many, and comes out the same."""
    from mlx_wan.convert import read

    build(tmp_path / "source", "wan2.1-t2v-1.3b")
    for options in ({}, {"quantize": 4}):
        monkeypatch.undo()
        convert(tmp_path / "source", tmp_path / "large", **options)
        monkeypatch.setattr(read, "PIECE_BYTES", 4096)
        monkeypatch.setattr(read.Ring.__init__, "__defaults__", (4096,))
        convert(tmp_path / "source", tmp_path / "small", **options)
        for component in ("transformer", "text_encoder", "vae"):
            name = f"{component}/model-00001-of-00001.safetensors"
            large, small = (tmp_path / which / name for which in ("large", "small"))
            assert large.read_bytes() == small.read_bytes()
        for which in ("large", "small"):
            (tmp_path / which).rename(tmp_path / f"{which}-{len(options)}")


def test_mini_with_equal_experts_needs_its_name(tmp_path):
    weights = build(tmp_path / "source", "wan2.2-t2v-a14b")
    high = tmp_path / "source" / "high_noise_model" / "diffusion_pytorch_model.safetensors"
    low = tmp_path / "source" / "low_noise_model" / "diffusion_pytorch_model.safetensors"
    low.write_bytes(high.read_bytes())
    with pytest.raises(ModelError, match="one expert is there twice"):
        convert(tmp_path / "source", tmp_path / "made")
    convert(tmp_path / "source", tmp_path / "made", model="wan-mini", dtype="fp32")
    assert open_model(tmp_path / "made").preset.id == "wan-mini"
    found = stored(tmp_path / "made", "low_noise")
    np.testing.assert_array_equal(
        numbers(found["head.head.weight"]), weights["high_noise"]["head.head.weight"]
    )


def test_progress_counts_the_bytes_of_the_source(tmp_path):
    build(tmp_path / "source", "wan2.1-t2v-1.3b")
    events = []
    convert(tmp_path / "source", tmp_path / "made", progress=events.append)
    assert {event.stage for event in events} == {"convert"}
    done = [event.done for event in events]
    assert done == sorted(done) and done[-1] == events[-1].total > 1_000_000


def test_writers_of_these_tests_are_read_by_safetensors_itself(tmp_path):
    from safetensors.numpy import load_file

    tensors = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.ones(3, np.uint8)}
    write_safetensors(tmp_path / "x.safetensors", tensors)
    for name, array in load_file(tmp_path / "x.safetensors").items():
        np.testing.assert_array_equal(array, tensors[name])
    write_pth(tmp_path / "x.pth", {"a": tensors["a"]})
