"""HunyuanVideo 1.5's checkpoints: every layout, which of its versions they are, what is left out,
tensors that are shares of fused ones."""

import json
from dataclasses import replace

import checkpoints_hunyuan
import mlx.core as mx
import numpy as np
import pytest
from checkpoints import write_json
from checkpoints_hunyuan import (
    BYT5,
    LAYOUTS,
    QWEN,
    TRANSFORMER,
    build,
    configs,
    original_config,
    qwen_config,
    siglip_config,
    write_vocabulary,
)

from mlx_wan.bench.layouts import to_layout
from mlx_wan.bench.networks_hunyuan_text import byte_bpe
from mlx_wan.bench.synthetic import write_safetensors
from mlx_wan.convert import convert, verify, work
from mlx_wan.convert import write as writing
from mlx_wan.convert.hunyuan import FAMILY
from mlx_wan.convert.quantize import is_quantized
from mlx_wan.errors import BadFileError, MlxWanError, ModelError, UsageError
from mlx_wan.loading import load_network, open_model
from mlx_wan.tokenizer_qwen import MAX_FILE_BYTES, QwenTokenizer

NAME = "hunyuanvideo-1.5-"


def stored(folder, component):
    """The tensors of a component as MLX loads them."""
    tensors = {}
    for file in open_model(folder)[component].files:
        tensors |= mx.load(str(file))
    return tensors


def refused(source, tmp_path, kind=ModelError, **options):
    """The message and hint of a conversion that must fail, and leaves nothing."""
    with pytest.raises(kind) as error:
        convert(source, tmp_path / "made", **options)
    assert not (tmp_path / "made").exists() and not (tmp_path / "made.partial").exists()
    return f"{error.value.message} | {error.value.hint}"


def rewrite(source, component, change, version="480p_t2v"):
    """Write a component of the original layout again, its tensors changed."""
    tensors = checkpoints_hunyuan.foreign_of(component, "original", version)
    change(tensors)
    stem = "diffusion_pytorch_model"
    place = {"transformer": f"transformer/{version}/{stem}", "vae": f"vae/{stem}"}[component]
    write_safetensors(source / f"{place}.safetensors", tensors)


# --- layouts -----------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("version", ["480p_t2v", "480p_i2v_step_distilled"])
def test_every_layout_arrives_exactly(version, layout, tmp_path):
    weights = build(tmp_path / "source", version, layout)
    made = convert(tmp_path / "source", tmp_path / "made", dtype="fp32")
    folder = open_model(made)
    assert folder.preset.id == NAME + version.replace("_", "-")
    assert verify(made) == []
    for component, tensors in weights.items():
        found = stored(made, component)
        assert found.keys() == tensors.keys()
        for name, values in tensors.items():
            np.testing.assert_array_equal(np.array(found[name]), values, err_msg=name)
        network = load_network(folder[component])  # strictly
        assert network.config == configs(version)[component][1]
    tokenizer = QwenTokenizer(made / "tokenizer" / "tokenizer.json")
    assert tokenizer("a<|im_end|>") == QwenTokenizer(_bpe(tmp_path))("a<|im_end|>")
    told = json.loads((made / "config.json").read_text())
    assert told["components"]["tokenizer"]["network"] == "byte_bpe"
    assert told["source"]["layout"] == layout
    names = [name.rpartition("/")[2] for name in told["source"]["files"]]
    assert ("merges.txt" in names and "vocab.json" in names) == (layout == "diffusers")


def _bpe(folder):
    file = folder / "tokenizer.json"
    file.write_text(byte_bpe(), encoding="utf-8")
    return file


def test_16_bits_keep_norms_and_the_vae(tmp_path):
    build(tmp_path / "source", "480p_i2v", dtype="BF16")
    made = convert(tmp_path / "source", tmp_path / "made")
    for name, value in stored(made, "transformer").items():
        assert value.dtype == (mx.float32 if "norm" in name else mx.bfloat16), name
    assert {value.dtype for value in stored(made, "vae").values()} == {mx.float32}
    for name in ("text_encoder", "text_encoder_2", "image_encoder"):
        assert {value.dtype for value in stored(made, name).values()} == {mx.bfloat16}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_is_left_out_is_told_with_the_reason(layout, tmp_path):
    build(tmp_path / "source", "720p_i2v", layout)
    made = convert(tmp_path / "source", tmp_path / "made")
    dropped = json.loads((made / "config.json").read_text())["dropped"]
    told = {entry["name"]: entry["reason"] for entry in dropped}
    prefix = "" if layout == "diffusers" else "model."
    layers = {int(n.split("layers.")[1].split(".")[0]) for n in told if "layers." in n}
    assert layers == {QWEN.num_layers, QWEN.num_layers + 1}
    assert told[f"{prefix}layers.2.mlp.up_proj.weight"] == (
        "states before the last two layers are read"
    )
    rest = {name for name in told if "layers." not in name}
    heads = {"original": {"module.mapper.weight", "vision_model.head.probe"}}
    heads |= {"diffusers": {"head.probe"}, "comfyui": {"vision_model.head.probe"}}
    unread = set() if layout == "diffusers" else {"lm_head.weight"}
    unread |= set() if layout == "diffusers" else {"visual.blocks.0.attn.qkv.weight"}
    assert rest == {f"{prefix}norm.weight", *heads[layout], *unread}
    assert all(told.values())


# --- which version -----------------------------------------------------------------------------

NAMES = """
transformer/480p_t2v_distilled/diffusion_pytorch_model.safetensors  480p-t2v-distilled
transformer/480p_i2v_step_distilled/x.safetensors                   480p-i2v-step-distilled
diffusion_models/hunyuanvideo1.5_720p_i2v_fp16.safetensors          720p-i2v
diffusion_models/hunyuanvideo1.5_720p_i2v_cfg_distilled_fp16.safetensors 720p-i2v-distilled
diffusion_models/hunyuanvideo1.5_480p_t2v_fp8_scaled.safetensors    480p-t2v
HunyuanVideo-1.5-Diffusers-480p_i2v/transformer/x.safetensors       480p-i2v
models--h--HunyuanVideo-1.5-Diffusers-720p_t2v/snapshots/1/transformer/x.safetensors 720p-t2v
720p_t2v/480p_i2v/x.safetensors                                     480p-i2v
transformer/720p_sr_distilled/x.safetensors                         720p-sr
diffusion_models/hunyuanvideo1.5_1080p_sr_distilled_fp16.safetensors 1080p-sr
transformer/x.safetensors                                           -
480p/x.safetensors                                                  -
a1480p_t2v.safetensors                                              -
480p_720p_t2v.safetensors                                           -
480p_t2v_i2v.safetensors                                            -
"""


@pytest.mark.parametrize("row", NAMES.strip().splitlines())
def test_the_version_is_read_from_the_nearest_name_that_tells_it(row):
    path, version = row.split()
    assert FAMILY.identify(f"/home/a/{path}") == (None if version == "-" else NAME + version)


def test_a_version_that_nothing_tells_is_asked_for(tmp_path):
    build(tmp_path / "source", "480p_t2v")
    (tmp_path / "source" / "transformer" / "480p_t2v").rename(
        tmp_path / "source" / "transformer" / "mine"
    )
    told = refused(tmp_path / "source", tmp_path)
    assert "does not say which" in told and f"--model: {NAME}480p-t2v or" in told
    assert f"{NAME}480p-i2v-step-distilled" not in told  # its tensors are others
    made = convert(tmp_path / "source", tmp_path / "made", model=f"{NAME}480p-t2v-distilled")
    assert open_model(made).preset.id == f"{NAME}480p-t2v-distilled"


def test_several_versions_in_one_folder_are_chosen_by_model(tmp_path):
    source = tmp_path / "source"
    build(source, "480p_t2v_distilled", seed=7)
    weights = build(source, "480p_t2v")
    step = build(source, "480p_i2v_step_distilled", seed=9)
    assert "several HunyuanVideo 1.5 transformers" in refused(source, tmp_path)
    made = convert(source, tmp_path / "made", model=f"{NAME}480p-t2v", dtype="fp32")
    found = stored(made, "transformer")
    np.testing.assert_array_equal(
        np.array(found["img_in.weight"]), weights["transformer"]["img_in.weight"]
    )
    other = convert(source, tmp_path / "step", model=f"{NAME}480p-i2v-step-distilled", dtype="fp32")
    np.testing.assert_array_equal(
        np.array(stored(other, "transformer")["time_r_in.fc1.bias"]),
        step["transformer"]["time_r_in.fc1.bias"],
    )
    again = tmp_path / "again"
    told = refused(source, again, MlxWanError, model=f"{NAME}720p-t2v")
    assert "several" in told


def test_a_name_against_model_or_tensors_is_refused(tmp_path):
    source = tmp_path / "source"
    build(source, "480p_t2v")
    told = refused(source, tmp_path, UsageError, model=f"{NAME}720p-t2v")
    assert f"is {NAME}480p-t2v by its name" in told
    told = refused(source, tmp_path, UsageError, model=f"{NAME}480p-i2v-step-distilled")
    assert "is not a" in told
    (source / "transformer" / "480p_t2v").rename(source / "transformer" / "480p_i2v_step_distilled")
    refused(source, tmp_path)  # it has no second time


@pytest.mark.parametrize("missing", ["image_encoder", "glyph", "vae", "llm", "tokenizer.json"])
def test_a_part_that_is_missing_is_named(missing, tmp_path):
    source = tmp_path / "source"
    build(source, "480p_i2v")
    said = {
        "image_encoder": "SigLIP image encoder",
        "glyph": "Glyph-ByT5 text encoder",
        "vae": "HunyuanVideo 1.5 VAE",
        "llm": "Qwen2.5-VL text encoder",
        "tokenizer.json": "tokenizer.json",
    }
    places = {
        "image_encoder": "vision_encoder/siglip/image_encoder/model.safetensors",
        "glyph": "text_encoder/Glyph-SDXL-v2/checkpoints/byt5_model.pt",
        "vae": "vae/diffusion_pytorch_model.safetensors",
        "llm": "text_encoder/llm/model.safetensors.index.json",
        "tokenizer.json": "text_encoder/llm/tokenizer.json",
    }
    (source / places[missing]).unlink()
    if missing == "llm":
        for shard in (source / "text_encoder" / "llm").glob("*.safetensors"):
            shard.unlink()
    assert f"has no {said[missing]}" in refused(source, tmp_path)


def test_what_is_missing_is_not_explained_by_something_else(tmp_path):
    """The original's folder may have a ByT5 that also writes; nobody needs it."""
    source = tmp_path / "source"
    build(source, "480p_t2v")
    writes = checkpoints_hunyuan.foreign_of("text_encoder_2", "diffusers", "480p_t2v")
    writes["decoder.final_layer_norm.weight"] = writes["encoder.final_layer_norm.weight"]
    write_safetensors(source / "text_encoder" / "byt5-small" / "model.safetensors", writes)
    convert(source, tmp_path / "whole")
    (source / "vae" / "diffusion_pytorch_model.safetensors").unlink()
    assert "has no HunyuanVideo 1.5 VAE" in refused(source, tmp_path)


def test_of_a_whole_siglip_only_what_sees_is_kept(tmp_path):
    """google's repository has the tower for texts too, and counters among its tensors."""
    source = tmp_path / "source"
    build(source, "480p_i2v")
    tensors = checkpoints_hunyuan.foreign_of("image_encoder", "original", "480p_i2v")
    unread = {
        "text_model.encoder.layers.0.self_attn.q_proj.weight": np.ones((4, 4), np.float32),
        "text_model.embeddings.position_ids": np.arange(4, dtype=np.int32),
        "logit_scale": np.ones(1, np.float32),
        "logit_bias": np.ones(1, np.float32),
    }
    place = source / "vision_encoder" / "siglip" / "image_encoder"
    write_safetensors(place / "model.safetensors", tensors | unread)
    write_json(place / "config.json", {"model_type": "siglip", "vision_config": siglip_config()})
    made = convert(source, tmp_path / "made", dtype="fp32")
    dropped = {e["name"] for e in json.loads((made / "config.json").read_text())["dropped"]}
    assert set(unread) < dropped
    load_network(open_model(made)["image_encoder"])


# --- shares of fused tensors -------------------------------------------------------------------


@pytest.mark.parametrize("bits", [8, 4])
def test_shares_are_quantised_as_tensors_of_their_own(bits, tmp_path):
    weights = {}
    for layout in LAYOUTS:
        weights = build(tmp_path / layout, "480p_t2v", layout)["transformer"]
        made = convert(tmp_path / layout, tmp_path / f"{layout}-q", quantize=bits, group_size=32)
        assert verify(made) == []
    plain = stored(tmp_path / "diffusers-q", "transformer")
    for layout in LAYOUTS:
        found = stored(tmp_path / f"{layout}-q", "transformer")
        assert found.keys() == plain.keys()
        assert all(mx.array_equal(found[name], plain[name]) for name in plain)
    for name in ("double_blocks.1.txt.attn_k", "txt_in.blocks.0.v"):
        codes, scales, biases = mx.quantize(
            mx.array(weights[f"{name}.weight"]), group_size=32, bits=bits
        )
        assert mx.array_equal(plain[f"{name}.weight"], codes)
        assert mx.array_equal(plain[f"{name}.scales"], scales.astype(mx.bfloat16))
        assert mx.array_equal(plain[f"{name}.biases"], biases.astype(mx.bfloat16))
    folder = open_model(tmp_path / "comfyui-q")
    for name in ("transformer", "text_encoder", "text_encoder_2"):
        assert folder[name].quantization == {"bits": bits, "group_size": 32}
        load_network(folder[name])
    assert folder["vae"].quantization is None
    assert "double_blocks.0.img.mod.scales" not in plain  # precomputed, and exact


def test_one_scale_of_a_fused_float8_weight_counts_for_all_its_shares(tmp_path):
    source = tmp_path / "source"
    weights = build(source, "480p_t2v", "comfyui")["transformer"]
    tensors, dtypes = {}, {}
    meant = dict(weights)
    fused = "double_blocks.1.img_attn_qkv"
    for name, array in to_layout("hunyuan_transformer", "comfyui", weights).items():
        tensors[name] = array
    scale = np.float32(np.abs(tensors[f"{fused}.weight"]).max() / 448)
    tensors[f"{fused}.weight"] = tensors[f"{fused}.weight"] / scale
    codes = mx.to_fp8(mx.array(tensors[f"{fused}.weight"]))
    values = np.array(mx.from_fp8(codes, mx.float32)) * scale
    dtypes[f"{fused}.weight"] = "F8_E4M3"
    tensors[f"{fused}.scale_weight"] = np.array(scale)
    for part, rows in zip("qkv", np.split(values, 3), strict=True):
        meant[f"double_blocks.1.img.attn_{part}.weight"] = rows
    (file,) = (source / "diffusion_models").iterdir()
    write_safetensors(file, tensors, dtypes)
    # and one of a tensor that is left out
    qwen = checkpoints_hunyuan.foreign_of("text_encoder", "comfyui", "480p_t2v")
    visual = "visual.blocks.0.attn.qkv"
    qwen[f"{visual}.scale_weight"] = np.array(scale)
    write_safetensors(
        source / "text_encoders" / "qwen_2.5_vl_7b.safetensors",
        qwen,
        {f"{visual}.weight": "F8_E4M3"},
    )
    made = convert(source, tmp_path / "made", dtype="fp32")
    found = stored(made, "transformer")
    for name, array in meant.items():
        np.testing.assert_array_equal(np.array(found[name]), array, err_msg=name)
    dropped = {e["name"] for e in json.loads((made / "config.json").read_text())["dropped"]}
    assert {f"{fused}.scale_weight", f"{visual}.scale_weight", f"{visual}.weight"} <= dropped


@pytest.mark.parametrize("options", [{}, {"quantize": 8}], ids=["bf16", "q8"])
def test_an_interrupted_conversion_goes_on_between_shares(options, tmp_path, monkeypatch):
    monkeypatch.setattr(writing, "SHARD_BYTES", 150_000)
    source = tmp_path / "source"
    build(source, "480p_t2v", "comfyui")
    whole = convert(source, tmp_path / "whole", **options)
    files = {p.relative_to(whole): p.read_bytes() for p in whole.rglob("*") if p.is_file()}
    plain, shares = work.convert_piece, []

    def failing(piece):
        if piece.job.name == "double_blocks.1.img.attn_k.weight":
            shares.append(piece.job.name)
            raise KeyboardInterrupt
        return plain(piece)

    with monkeypatch.context() as patch:
        patch.setattr(work, "convert_piece", failing)
        with pytest.raises(KeyboardInterrupt):
            convert(source, tmp_path / "made", **options)
    assert shares and (tmp_path / "made.partial").is_dir()
    made = convert(source, tmp_path / "made", **options)
    again = {p.relative_to(made): p.read_bytes() for p in made.rglob("*") if p.is_file()}
    assert again == files and verify(made) == []
    damaged = made / "transformer" / "model-00002-of-00002.safetensors"
    damaged = max((made / "transformer").glob("*.safetensors")) if not damaged.exists() else damaged
    raw = bytearray(damaged.read_bytes())
    raw[-1] ^= 1
    damaged.write_bytes(raw)
    (problem,) = verify(made)
    assert problem.startswith(f"transformer/{damaged.name}")


# --- hostile -----------------------------------------------------------------------------------


def _change(name, change):
    def changed(tensors):
        tensors[name] = change(tensors[name])

    return changed


QKV = "txt_in.individual_token_refiner.blocks.0.self_attn_qkv"
HOSTILE = {
    "a share's tensor missing": (lambda t: t.pop(f"{QKV}.weight"), "lacks 3 of"),
    "rows that three cannot share": (_change(f"{QKV}.bias", lambda a: a[:-1]), "cannot share"),
    "shares too small": (_change(f"{QKV}.weight", lambda a: a[:-3]), "does not fit"),
    "shares too narrow": (_change(f"{QKV}.weight", lambda a: a[:, :-1]), "does not fit"),
    "a fused scalar": (_change(f"{QKV}.bias", lambda a: a[0]), "does not fit"),
    "a block missing": (
        lambda t: [t.pop(n) for n in list(t) if n.startswith("double_blocks.0.txt")],
        "lacks 16 of",
    ),
    "an extra tensor": (lambda t: t.update(extra=t["img_in.proj.bias"]), "are no part of"),
    "another first convolution": (
        _change("img_in.proj.weight", lambda a: np.repeat(a, 2, axis=-1)),
        "no complete",
    ),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_transformers_are_refused(case, tmp_path):
    change, said = HOSTILE[case]
    build(tmp_path / "source", "480p_t2v")
    rewrite(tmp_path / "source", "transformer", change)
    assert said in refused(tmp_path / "source", tmp_path, MlxWanError)


SETTINGS = {
    "transformer": {
        "mm_double_blocks_depth": 54,
        "heads_num": 16,
        "rope_dim_list": [16, 56, 57],
        "rope_theta": 10**400,
        "use_meanflow": True,
        "guidance_embed": True,
        "in_channels": 16,
        "text_states_dim": 3584,
        "mm_single_blocks_depth": 20,
    },
    "llm": {
        "num_hidden_layers": 28,
        "num_attention_heads": 7,
        "rms_norm_eps": "NaN",
        "rope_theta": 1e7,  # beyond what the engine takes
        "num_key_value_heads": 2,
    },
    "vae": {"scaling_factor": 0, "shift_factor": 0.1, "ffactor_temporal": 8, "latent_channels": 16},
    "image_encoder": {"image_size": 384, "num_hidden_layers": 27, "patch_size": 16},
}


@pytest.mark.parametrize(
    ("part", "key"), [(part, key) for part, keys in SETTINGS.items() for key in keys]
)
def test_settings_that_contradict_the_tensors_are_refused(part, key, tmp_path):
    source = tmp_path / "source"
    build(source, "480p_i2v")
    places = {
        "transformer": "transformer/480p_i2v",
        "llm": "text_encoder/llm",
        "vae": "vae",
        "image_encoder": "vision_encoder/siglip/image_encoder",
    }
    file = source / places[part] / "config.json"
    write_json(file, {**json.loads(file.read_text()), key: SETTINGS[part][key]})
    told = refused(source, tmp_path, MlxWanError)
    assert key in told or key in ("num_attention_heads", "image_size")


def test_newer_tables_within_a_config_are_read(tmp_path):
    """As transformers 4.52 and later writes them."""
    source = tmp_path / "source"
    build(source, "480p_i2v")
    inner = qwen_config()
    inner["rope_parameters"] = {"rope_theta": inner.pop("rope_theta") / 2}
    write_json(source / "text_encoder" / "llm" / "config.json", {"text_config": inner})
    place = source / "vision_encoder" / "siglip" / "image_encoder"
    write_json(place / "config.json", {"vision_config": siglip_config()})
    folder = open_model(convert(source, tmp_path / "made"))
    assert folder["text_encoder"].config["rope_theta"] == QWEN.rope_theta / 2
    assert folder["image_encoder"].config["image_size"] == 45


@pytest.mark.parametrize("part", ["text_encoders", "clip_vision"])
def test_without_its_settings_only_the_published_encoder_is_known(part, tmp_path):
    build(tmp_path / "source", "480p_i2v", "comfyui")
    (tmp_path / "source" / part / "config.json").unlink()
    assert "config.json" in refused(tmp_path / "source", tmp_path, BadFileError)


def test_a_transformer_without_its_settings_turns_as_the_published_one(tmp_path):
    source = tmp_path / "source"
    build(source, "480p_t2v")
    (source / "transformer" / "480p_t2v" / "config.json").unlink()
    folder = open_model(convert(source, tmp_path / "made"))
    assert folder["transformer"].config["rope_axes"] == [16, 56, 56]
    narrow = replace(TRANSFORMER, num_heads=2, rope_axes=(16, 24, 24))
    weights = checkpoints_hunyuan.random_weights("hunyuan_transformer", narrow, 0)
    file = source / "transformer" / "480p_t2v" / "diffusion_pytorch_model.safetensors"
    write_safetensors(file, to_layout("hunyuan_transformer", "original", weights))
    with pytest.raises(BadFileError, match="rope_dim_list"):
        convert(source, tmp_path / "narrow")
    write_json(file.with_name("config.json"), original_config(narrow))
    made = convert(source, tmp_path / "narrow")
    assert open_model(made)["transformer"].config["rope_axes"] == [16, 24, 24]


RELATIVES = {"720p_i2v_distilled_sparse": "block-sparse"}


@pytest.mark.parametrize("version", RELATIVES)
def test_versions_that_are_not_built_are_refused(version, tmp_path):
    source = tmp_path / "source"
    build(source, "720p_i2v_distilled")
    (source / "transformer" / "720p_i2v_distilled").rename(source / "transformer" / version)
    told = refused(source, tmp_path, MlxWanError, model=f"{NAME}720p-i2v-distilled")
    assert RELATIVES[version] in told


@pytest.mark.parametrize("layout", ["original", "comfyui"])
@pytest.mark.parametrize("version", ["720p_sr_distilled", "1080p_sr_distilled"])
def test_super_resolution_arrives_exactly(version, layout, tmp_path):
    weights = build(tmp_path / "source", version, layout)
    made = convert(tmp_path / "source", tmp_path / "made", dtype="fp32")
    folder = open_model(made)
    assert folder.preset.id == NAME + version.removesuffix("_distilled").replace("_", "-")
    assert verify(made) == []
    for component, tensors in weights.items():
        found = stored(made, component)
        assert found.keys() == tensors.keys()
        for name, values in tensors.items():
            np.testing.assert_array_equal(np.array(found[name]), values, err_msg=name)
        assert load_network(folder[component]).config == configs(version)[component][1]


def test_super_resolution_beside_its_first_model_is_chosen_by_name(tmp_path):
    source = tmp_path / "source"
    build(source, "480p_t2v")
    build(source, "1080p_sr_distilled")
    build(source, "720p_sr_distilled")
    assert "several" in refused(source, tmp_path)
    for model in ("480p-t2v", "720p-sr", "1080p-sr"):
        made = convert(source, tmp_path / model, model=NAME + model)
        assert open_model(made).preset.id == NAME + model


def test_super_resolution_needs_its_upsampler(tmp_path):
    source = tmp_path / "source"
    build(source, "720p_sr_distilled")
    (source / "upsampler").rename(tmp_path / "away")
    assert "has no HunyuanVideo 1.5 latent upsampler for 720p" in refused(source, tmp_path)
    build(tmp_path / "other", "1080p_sr_distilled")
    (tmp_path / "other" / "upsampler").rename(source / "upsampler")
    assert "has no HunyuanVideo 1.5 latent upsampler for 720p" in refused(source, tmp_path)


def test_its_elder_sister_is_told_apart(tmp_path):
    source = tmp_path / "source"
    build(source, "480p_t2v")
    rewrite(
        source,
        "transformer",
        lambda t: t.update({"single_blocks.0.linear1.weight": t["img_in.proj.bias"]}),
    )
    assert "HunyuanVideo 1.0" in refused(source, tmp_path)


# --- tokenizer ---------------------------------------------------------------------------------


def _tokenizer(source):
    return source / "text_encoder" / "llm" / "tokenizer.json"


def test_a_tokenizer_of_vocabulary_and_merges_is_the_same(tmp_path):
    source = tmp_path / "source"
    build(source, "480p_t2v")
    meant = QwenTokenizer(_tokenizer(source))
    _tokenizer(source).unlink()
    write_vocabulary(_tokenizer(source).parent)
    made = convert(source, tmp_path / "made")
    found = QwenTokenizer(made / "tokenizer" / "tokenizer.json")
    text = "<|im_start|>a slow camera, it's “late” 描述\n\n<|im_end|>"
    assert found(text) == meant(text) and found.vocab_size == meant.vocab_size
    _tokenizer(source).with_name("merges.txt").unlink()
    assert "merges.txt" in refused(source, tmp_path / "again")


def _edited(**changes):
    content = json.loads(byte_bpe())
    content["model"] |= changes
    return json.dumps(content)


TOKENIZERS = {
    "not JSON": "no",
    "a list": "[]",
    "no model": "{}",
    "T5's pieces": json.dumps({"model": {"vocab": [["a", 0.0]]}, "added_tokens": []}),
    "ids twice": _edited(vocab=dict.fromkeys(json.loads(byte_bpe())["model"]["vocab"], 1)),
    "unknown merges": _edited(merges=["never seen"]),
    "a huge number": byte_bpe().replace(":5,", ":5e999,", 1),
    "nested without end": "[" * 100_000,
}


@pytest.mark.parametrize("case", TOKENIZERS)
def test_damaged_tokenizers_are_refused(case, tmp_path):
    build(tmp_path / "source", "480p_t2v")
    _tokenizer(tmp_path / "source").write_text(TOKENIZERS[case], encoding="utf-8")
    refused(tmp_path / "source", tmp_path, BadFileError)


def test_tokenizers_too_large_or_different_are_refused(tmp_path):
    source = tmp_path / "source"
    build(source, "480p_t2v")
    other = source / "tokenizer" / "tokenizer.json"
    other.parent.mkdir()
    other.write_text(byte_bpe())
    convert(source, tmp_path / "equal")
    other.write_text(byte_bpe(300))
    assert "different tokenizers" in refused(source, tmp_path)
    other.unlink()
    _tokenizer(source).write_text(byte_bpe(400))
    assert f"{QWEN.vocab_size:,}" in refused(source, tmp_path)
    with _tokenizer(source).open("wb") as file:
        file.truncate(MAX_FILE_BYTES + 1)
    assert "too large" in refused(source, tmp_path, BadFileError)


# --- what quantising is about ------------------------------------------------------------------


def test_blocks_are_quantised_and_nothing_else():
    for component, (network, config) in configs("480p_i2v").items():
        weights = checkpoints_hunyuan.random_weights(network, config, 0)
        names = {name for name in weights if is_quantized(network, name)}
        assert not any("norm" in n or "mod" in n or n.endswith("bias") for n in names)
        expected = {
            "transformer": 2 * 2 * 6 + 6,
            "text_encoder": 2 * 7,
            "text_encoder_2": 2 * 7,
            "vae": 0,
            "image_encoder": 0,
        }
        assert len(names) == expected[component]
    assert BYT5.num_layers == QWEN.num_layers == TRANSFORMER.num_layers == 2
