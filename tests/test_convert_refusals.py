"""Wrong families, mixed-up experts, LoRAs, half downloads: refused with what would fit."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
from checkpoints import (
    TEXT_ENCODER,
    TRANSFORMER,
    VAE21,
    build,
    configs,
    diffusers_vae_config,
    random_weights,
    to_layout,
    write_json,
    write_pth,
    write_safetensors,
    write_sharded,
)

from mlx_wan.convert import convert
from mlx_wan.errors import MlxWanError, ModelError, UsageError

T2V, I2V, TI2V, SINGLE = (
    "wan2.2-t2v-a14b",
    "wan2.2-i2v-a14b",
    "wan2.2-ti2v-5b",
    "wan2.1-t2v-1.3b",
)
NAME = "diffusion_pytorch_model.safetensors"


def refused(folder, *told, kind=ModelError, source=None, **options):
    """Converting must fail like this, and leave nothing."""
    before = sorted(folder.iterdir())
    with pytest.raises(MlxWanError) as error:
        convert(source or folder / "source", folder / "made", **options)
    assert isinstance(error.value, kind), error.value
    text = f"{error.value.message} | {error.value.hint}"
    for part in told:
        assert part in text, text
    assert sorted(folder.iterdir()) == before
    assert "\n" not in text


def transformer(model, seed=50, layout="original"):
    weights = random_weights("wan_transformer", configs(model)[next(iter(configs(model)))][1], seed)
    return to_layout("wan_transformer", weights, layout)


# --- the wrong model ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "asked", "fitting"),
    [
        (T2V, I2V, "wan2.2-t2v-a14b or wan-mini"),
        (I2V, T2V, "wan2.2-i2v-a14b"),
        (TI2V, SINGLE, "wan2.2-ti2v-5b or fastwan2.2-ti2v-5b"),
        (SINGLE, T2V, "wan2.1-t2v-1.3b or fastwan2.1-t2v-1.3b"),
        (SINGLE, "wan-mini", "wan2.1-t2v-1.3b or fastwan2.1-t2v-1.3b"),
    ],
)
def test_a_model_that_it_is_not(model, asked, fitting, tmp_path):
    build(tmp_path / "source", model)
    refused(tmp_path, "channels in", f"--model {fitting} would fit", kind=UsageError, model=asked)


def test_unknown_model_names_are_misuse(tmp_path):
    build(tmp_path / "source", SINGLE)
    refused(tmp_path, "wan3", "wan2.2-t2v-a14b", kind=UsageError, model="wan3")


RELATIVES = {
    "VACE": ("vace_blocks.0.before_proj.weight", "original"),
    "Animate": ("motion_encoder.dec.direction.weight", "original"),
    "S2V": ("casual_audio_encoder.encoder.conv1.weight", "original"),
    "Fun Camera": ("control_adapter.conv.weight", "original"),
    "Fun Control": ("ref_conv.weight", "original"),
    "CLIP image encoder": ("img_emb.proj.0.weight", "original"),
    "a CLIP image": ("blocks.0.cross_attn.k_img.weight", "original"),
    "CLIP": ("condition_embedder.image_embedder.norm1.weight", "diffusers"),
    "2.1 image to video": ("blocks.0.attn2.add_k_proj.weight", "diffusers"),
    "sparse-linear": ("blocks.0.self_attn.attn_op.local_attn.proj_l.weight", "original"),
}


@pytest.mark.parametrize("what", RELATIVES)
def test_relatives_that_are_not_supported_are_named(what, tmp_path):
    name, layout = RELATIVES[what]
    build(tmp_path / "source", SINGLE, layout)
    folder = tmp_path / "source" / ("transformer" if layout == "diffusers" else "")
    tensors = transformer(SINGLE, layout=layout) | {name: np.zeros(4, np.float32)}
    write_safetensors(folder / NAME, tensors)
    refused(tmp_path, what, NAME, "Wan 2.2 T2V-A14B")


def test_unknown_tensors_are_never_ignored(tmp_path):
    build(tmp_path / "source", SINGLE)
    tensors = transformer(SINGLE) | {"blocks.0.something.weight": np.zeros(4, np.float32)}
    write_safetensors(tmp_path / "source" / NAME, tensors)
    refused(tmp_path, "blocks.0.something.weight", "no part of a wan_transformer")


def test_computed_tables_are_dropped_by_name(tmp_path):
    build(tmp_path / "source", SINGLE)
    tensors = transformer(SINGLE) | {"freqs": np.zeros((8, 2), np.float32)}
    write_safetensors(tmp_path / "source" / NAME, tensors)
    made = convert(tmp_path / "source", tmp_path / "made")
    assert '"freqs"' in (made / "config.json").read_text()


LORAS = {
    "lightning": "diffusion_model.blocks.0.self_attn.q.lora_down.weight",
    "peft": "blocks.0.attn1.to_q.lora_A.weight",
    "kohya": "lora_unet_blocks_0_self_attn_q.lora_up.weight",
    "difference": "diffusion_model.blocks.0.self_attn.q.diff",
    "bias difference": "diffusion_model.blocks.0.self_attn.q.diff_b",
    "lokr": "diffusion_model.blocks.0.ffn.0.lokr_w1",
}


@pytest.mark.parametrize("kind", LORAS)
def test_a_lora_given_as_a_model(kind, tmp_path):
    (tmp_path / "source").mkdir()
    file = tmp_path / "source" / "wan_lora.safetensors"
    write_safetensors(file, {LORAS[kind]: np.zeros((4, 8), np.float32)})
    refused(tmp_path, "wan_lora.safetensors is a LoRA", "when generating")
    refused(tmp_path, "is a LoRA", source=file)


def test_other_models_are_named(tmp_path):
    for number, (name, what) in enumerate(
        {
            "double_blocks.0.img_attn.qkv.weight": "HunyuanVideo 1.0 or Flux",
            "model.diffusion_model.input_blocks.0.0.weight": "Stable Diffusion",
            "something.else": "unknown",
        }.items()
    ):
        folder = tmp_path / str(number)
        write_safetensors(folder / "source" / "x.safetensors", {name: np.zeros((4, 8), np.float32)})
        refused(folder, "no transformer of a video model", f"x.safetensors is {what}")


def test_gguf_is_named(tmp_path):
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "wan-Q4_K_M.gguf").write_bytes(b"GGUF")
    refused(tmp_path, "wan-Q4_K_M.gguf is not read")


def test_unrelated_files_beside_a_model_do_not_matter(tmp_path):
    """A ComfyUI models folder holds LoRAs, other models and old pickles too."""
    source = tmp_path / "source"
    build(source, T2V, "comfyui")
    write_safetensors(source / "loras" / "x.safetensors", {LORAS["peft"]: np.zeros((4, 8))})
    write_safetensors(source / "vae" / "flux.safetensors", {"decoder.up.0": np.zeros((4, 8))})
    (source / "upscale_models").mkdir()
    (source / "upscale_models" / "old.pth").write_bytes(b"\x80\x02}.")
    write_safetensors(
        source / "diffusion_models" / "vace.safetensors",
        transformer(SINGLE) | {"vace_blocks.0.x": np.zeros(1)},
    )
    convert(source, tmp_path / "made")


# --- experts -----------------------------------------------------------------------------------


def test_an_expert_is_missing(tmp_path):
    build(tmp_path / "source", T2V)
    shutil.rmtree(tmp_path / "source" / "low_noise_model")
    refused(tmp_path, "for high noise, but no transformer for low noise", "high_noise_model")


def test_a_single_expert_of_an_image_model_is_no_model(tmp_path):
    build(tmp_path / "source", I2V)
    shutil.rmtree(tmp_path / "source" / "low_noise_model")
    for file in (tmp_path / "source" / "high_noise_model").iterdir():
        file.rename(tmp_path / "source" / file.name)
    refused(tmp_path, "no known model", "36 channels in")


def test_one_expert_twice(tmp_path):
    build(tmp_path / "source", T2V)
    low = tmp_path / "source" / "low_noise_model" / NAME
    shutil.copy(tmp_path / "source" / "high_noise_model" / NAME, low)
    refused(tmp_path, "same weights", "there twice", "high_noise_model", "low_noise_model")


def test_the_same_expert_under_other_shards_is_still_the_same(tmp_path):
    build(tmp_path / "source", T2V)
    low = tmp_path / "source" / "low_noise_model"
    (low / NAME).unlink()
    weights = random_weights("wan_transformer", configs(T2V)["high_noise"][1], 0)
    write_sharded(
        low, NAME.removesuffix(".safetensors"), to_layout("wan_transformer", weights, "original"), 2
    )
    refused(tmp_path, "there twice")


def test_experts_of_different_models(tmp_path):
    build(tmp_path / "source", T2V)
    build(tmp_path / "other", I2V)
    shutil.rmtree(tmp_path / "source" / "high_noise_model")
    shutil.move(tmp_path / "other" / "high_noise_model", tmp_path / "source")
    shutil.rmtree(tmp_path / "other")
    refused(tmp_path, "experts of different models", "in_dim is 36 and 16")


def test_a_file_name_against_its_folder(tmp_path):
    build(tmp_path / "source", T2V)
    folder = tmp_path / "source" / "high_noise_model"
    (folder / NAME).rename(folder / "wan2.2_t2v_low_noise_14B.safetensors")
    refused(tmp_path, "both high noise and low noise in its name", "wan2.2_t2v_low_noise")


def test_experts_that_do_not_say_which_they_are(tmp_path):
    build(tmp_path / "source", T2V, "comfyui")
    folder = tmp_path / "source" / "diffusion_models"
    for name, file in zip("ab", sorted(folder.iterdir()), strict=True):
        file.rename(folder / f"{name}.safetensors")
    refused(tmp_path, "several Wan transformers", "a.safetensors and", "high and low")


def test_two_precisions_of_the_same_expert(tmp_path):
    build(tmp_path / "source", T2V, "comfyui")
    folder = tmp_path / "source" / "diffusion_models"
    high = next(folder.glob("*high*"))
    shutil.copy(high, folder / "wan_high_noise_fp8.safetensors")
    refused(tmp_path, "several transformers for high noise", "wan_high_noise_fp8.safetensors")


def test_model_chooses_between_models_in_one_folder(tmp_path):
    build(tmp_path / "source", T2V, "comfyui")
    build(tmp_path / "source", I2V, "comfyui", seed=7)
    refused(tmp_path, "several transformers for high noise", "--model")
    for model in (T2V, I2V):
        made = convert(tmp_path / "source", tmp_path / model, model=model)
        assert f'"model": "{model}"' in (made / "config.json").read_text()


def test_a_folder_name_with_both_words_says_nothing(tmp_path):
    build(tmp_path / "source" / "high-and-low-noise", T2V)
    convert(tmp_path / "source", tmp_path / "made")


# --- parts that are missing or do not fit ------------------------------------------------------


def test_parts_that_are_missing(tmp_path):
    build(tmp_path / "source", SINGLE)
    source = tmp_path / "source"
    for name, told in (
        ("Wan2.1_VAE.pth", "no Wan 2.1 VAE"),
        ("models_t5_umt5-xxl-enc-bf16.pth", "no UMT5 text encoder"),
        ("google/umt5-xxl/spiece.model", "no spiece.model"),
        (NAME, "no transformer of a video model"),
    ):
        away = tmp_path.parent / f"{tmp_path.name}-away"
        (source / name).rename(away)
        refused(tmp_path, told)
        away.rename(source / name)
    convert(source, tmp_path / "made")


def test_only_a_tokenizer_json(tmp_path):
    build(tmp_path / "source", SINGLE, "diffusers")
    (tmp_path / "source" / "tokenizer" / "spiece.model").rename(
        tmp_path / "source" / "tokenizer" / "tokenizer.json"
    )
    refused(tmp_path, "no spiece.model", "tokenizer.json is not read", "google/umt5-xxl")


def test_different_tokenizers(tmp_path):
    build(tmp_path / "source", SINGLE)
    (tmp_path / "source" / "spiece.model").write_bytes(b"other")
    refused(tmp_path, "different tokenizers")
    shutil.copy(tmp_path / "source/google/umt5-xxl/spiece.model", tmp_path / "source")
    convert(tmp_path / "source", tmp_path / "made")  # twice the same is no question


def test_the_vae_of_another_model(tmp_path):
    build(tmp_path / "source", SINGLE)
    build(tmp_path / "other", TI2V)
    (tmp_path / "source" / "Wan2.1_VAE.pth").unlink()
    shutil.move(tmp_path / "other" / "Wan2.2_VAE.pth", tmp_path / "source")
    shutil.rmtree(tmp_path / "other")
    refused(tmp_path, "no Wan 2.1 VAE")


def test_a_vae_with_other_latent_channels(tmp_path):
    build(tmp_path / "source", SINGLE, "diffusers")
    config = replace(VAE21, z_dim=8, latents_mean=(0.0,) * 8, latents_std=(1.0,) * 8)
    tensors = to_layout("wan_vae21", random_weights("wan_vae21", config, 0), "diffusers")
    write_safetensors(tmp_path / "source" / "vae" / NAME, tensors)
    write_json(tmp_path / "source" / "vae" / "config.json", diffusers_vae_config(config))
    refused(tmp_path, "makes 8 latent channels", "the transformer has 16")


def test_the_tokenizer_of_another_text_encoder(tmp_path):
    build(tmp_path / "source", SINGLE)
    config = replace(TEXT_ENCODER, vocab_size=50)
    tensors = to_layout("umt5", random_weights("umt5", config, 0), "original")
    write_pth(tmp_path / "source" / "models_t5_umt5-xxl-enc-bf16.pth", tensors, "BF16")
    refused(tmp_path, "pieces; the text encoder knows 50")


FLOAT8 = {
    "a scale without float8": (
        {"blocks.0.ffn.0.scale_weight": np.array(np.float32(1))},
        "which is no float8 weight",
    ),
    "a scale for nothing": (
        {"blocks.9.ffn.0.weight_scale": np.array(np.float32(1))},
        "which is no float8 weight",
    ),
    "a scale per row": (
        {"blocks.0.self_attn.q.scale_weight": np.ones((128, 1), np.float32)},
        "only one float32 for all of a weight",
    ),
    "a scale of 0": ({"blocks.0.self_attn.q.scale_weight": np.zeros((), np.float32)}, "scale 0.0"),
    "an endless scale": (
        {"blocks.0.self_attn.q.scale_weight": np.array(np.float32(np.inf))},
        "scale inf",
    ),
    "blocks of float8": (
        {"blocks.0.self_attn.q.comfy_quant": np.frombuffer(b'{"format": "mxfp8"}', np.uint8)},
        "'mxfp8'",
    ),
    "an unreadable format": (
        {"blocks.0.self_attn.q.comfy_quant": np.frombuffer(b"{", np.uint8)},
        "'unknown'",
    ),
}


@pytest.mark.parametrize("case", FLOAT8)
def test_ways_of_scaling_that_are_not_known(case, tmp_path):
    extra, told = FLOAT8[case]
    build(tmp_path / "source", SINGLE, "comfyui")
    file = next((tmp_path / "source" / "diffusion_models").iterdir())
    name = "blocks.0.self_attn.q.weight"
    write_safetensors(file, transformer(SINGLE) | extra, {name: "F8_E4M3"})
    refused(tmp_path, told, file.name)


def test_a_text_encoder_of_another_width(tmp_path):
    build(tmp_path / "source", SINGLE)
    weights = random_weights("wan_transformer", replace(TRANSFORMER, text_dim=96), 0)
    tensors = to_layout("wan_transformer", weights, "original")
    write_safetensors(tmp_path / "source" / NAME, tensors)
    refused(tmp_path, "a width of 64", "takes 96")


def test_plain_t5_is_not_umt5(tmp_path):
    build(tmp_path / "source", SINGLE, "diffusers")
    weights = random_weights("umt5", configs(SINGLE)["text_encoder"][1], 0)
    tensors = to_layout("umt5", weights, "diffusers")
    del tensors["encoder.block.1.layer.0.SelfAttention.relative_attention_bias.weight"]
    write_safetensors(tmp_path / "source" / "text_encoder" / "model.safetensors", tensors)
    refused(tmp_path, "no UMT5 text encoder", "is a T5 text encoder")


def test_a_quantised_mlx_video_folder(tmp_path):
    build(tmp_path / "source", SINGLE, "mlx-video")
    tensors = transformer(SINGLE, layout="mlx-video")
    tensors["blocks.0.ffn.fc1.scales"] = np.zeros((192, 2), np.float32)
    write_safetensors(tmp_path / "source" / "model.safetensors", tensors)
    refused(tmp_path, "quantised already", "from before quantising")


def test_a_converted_folder_as_source(tmp_path):
    build(tmp_path / "source", SINGLE)
    made = convert(tmp_path / "source", tmp_path / "model")
    refused(tmp_path, "converted already", kind=UsageError, source=made)


# --- half downloads ----------------------------------------------------------------------------


def test_a_missing_shard_is_named(tmp_path):
    build(tmp_path / "source", T2V, shards=3)
    shard = (
        tmp_path
        / "source"
        / "low_noise_model"
        / "diffusion_pytorch_model-00002-of-00003.safetensors"
    )
    shard.unlink()
    refused(tmp_path, str(shard), "is missing", "index.json")


def test_a_missing_shard_without_an_index_is_named(tmp_path):
    build(tmp_path / "source", SINGLE, shards=3)
    (tmp_path / "source" / f"{NAME}.index.json").unlink()
    (tmp_path / "source" / "diffusion_pytorch_model-00003-of-00003.safetensors").unlink()
    refused(tmp_path, "diffusion_pytorch_model-00003-of-00003.safetensors is missing")


def test_an_interrupted_download_is_named(tmp_path):
    build(tmp_path / "source", SINGLE)
    (tmp_path / "source" / f"{NAME}.incomplete").write_bytes(b"")
    refused(tmp_path, f"{NAME}.incomplete", "interrupted download")


def test_an_interrupted_download_in_the_cache_of_the_hub_explains_what_is_missing(tmp_path):
    build(tmp_path / "source", SINGLE)
    (tmp_path / "source" / "Wan2.1_VAE.pth").unlink()
    cache = tmp_path / "source" / ".cache" / "huggingface" / "download"
    cache.mkdir(parents=True)
    (cache / "abc.def.incomplete").write_bytes(b"")
    refused(tmp_path, "no Wan 2.1 VAE", "interrupted")


@pytest.mark.parametrize("name", [NAME, "Wan2.1_VAE.pth", "models_t5_umt5-xxl-enc-bf16.pth"])
def test_a_truncated_file_is_named(name, tmp_path):
    build(tmp_path / "source", SINGLE)
    file = tmp_path / "source" / name
    file.write_bytes(file.read_bytes()[: file.stat().st_size * 2 // 3])
    refused(tmp_path, str(file), "cut off", "download")


def test_a_truncated_expert_is_named_rather_than_called_missing(tmp_path):
    build(tmp_path / "source", T2V)
    file = tmp_path / "source" / "high_noise_model" / NAME
    file.write_bytes(file.read_bytes()[:-1])
    refused(tmp_path, str(file), "cut off")


def test_an_incomplete_network_is_refused(tmp_path):
    build(tmp_path / "source", SINGLE)
    tensors = transformer(SINGLE)
    del tensors["blocks.1.ffn.2.bias"]
    write_safetensors(tmp_path / "source" / NAME, tensors)
    refused(tmp_path, "lacks 1 of", "blocks.1.ffn.fc2.bias")


# --- the destination ---------------------------------------------------------------------------


def test_nothing_is_overwritten(tmp_path):
    build(tmp_path / "source", SINGLE)
    for make in (lambda p: p.mkdir(), lambda p: p.touch(), lambda p: p.symlink_to("nowhere")):
        make(tmp_path / "made")
        refused(tmp_path, "exists already", kind=UsageError)
        made = tmp_path / "made"
        made.rmdir() if made.is_dir() else made.unlink()


def test_the_destination_is_not_inside_the_source(tmp_path):
    build(tmp_path / "source", SINGLE)
    with pytest.raises(UsageError, match="inside the source"):
        convert(tmp_path / "source", tmp_path / "source" / "made")


def test_a_full_disk_is_noticed_before_the_work(tmp_path, monkeypatch):
    from collections import namedtuple

    build(tmp_path / "source", SINGLE)
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage(10**9, 10**9, 10**6))
    refused(tmp_path, "0.00 GB free", "needs 0.07")


def test_folders_that_cannot_be_written_are_named(tmp_path):
    build(tmp_path / "source", SINGLE)
    (tmp_path / "file").touch()
    with pytest.raises(ModelError, match="file"):
        convert(tmp_path / "source", tmp_path / "file" / "made")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"dtype": "int8"}, "bf16"),
        ({"dtype": "BF16"}, "bf16"),
        ({"quantize": 5}, "8, 6 or 4"),
        ({"quantize": 0}, "8, 6 or 4"),
        ({"quantize": 8, "group_size": 48}, "32, 64 or 128"),
    ],
)
def test_options_out_of_range_are_misuse(options, told, tmp_path):
    build(tmp_path / "source", SINGLE)
    refused(tmp_path, told, kind=UsageError, **options)


def test_a_config_beside_a_vae_is_not_taken_for_its_own(tmp_path):
    """In the original TI2V layout config.json of the transformer lies beside the VAE."""
    build(tmp_path / "source", SINGLE)
    write_json(
        tmp_path / "source" / "config.json",
        {"num_heads": 2, "text_len": 32, "z_dim": 99, "eps": 1e-6},
    )
    convert(tmp_path / "source", tmp_path / "made")
