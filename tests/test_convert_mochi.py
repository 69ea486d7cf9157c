"""Mochi's checkpoints: every layout, the VAE in two files, shares of fused tensors."""

import json

import checkpoints_mochi
import mlx.core as mx
import numpy as np
import pytest
from checkpoints import write_json
from checkpoints_mochi import CONFIGS, LAYOUTS, T5, build, foreign_of, fused_float8, half_of

from mlx_wan.bench.synthetic import (
    as_dtype,
    pickled_tensor,
    spiece_model,
    text,
    write_pth,
    write_safetensors,
)
from mlx_wan.convert import convert, verify, work
from mlx_wan.convert import write as writing
from mlx_wan.convert.quantize import is_quantized
from mlx_wan.errors import BadFileError, MlxWanError, ModelError
from mlx_wan.loading import load_network, open_model


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


# --- layouts -----------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_arrives_exactly(layout, tmp_path):
    weights = build(tmp_path / "source", layout)
    made = convert(tmp_path / "source", tmp_path / "made", dtype="fp32")
    folder = open_model(made)
    assert folder.preset.id == "mochi-1"
    assert verify(made) == []
    assert (made / "tokenizer" / "spiece.model").read_bytes() == spiece_model()
    for component, tensors in weights.items():
        found = stored(made, component)
        assert found.keys() == tensors.keys()
        for name, values in tensors.items():
            np.testing.assert_array_equal(np.array(found[name]), values, err_msg=name)
        assert load_network(folder[component]).config == CONFIGS[component][1]  # strictly
    told = json.loads((made / "config.json").read_text())
    assert told["dropped"] == [] and told["model"] == "mochi-1"


@pytest.mark.parametrize(("name", "kind"), [("bf16", "BF16"), ("fp16", "F16")])
def test_16_bits_are_kept_norms_and_vae_stay_exact(name, kind, tmp_path):
    weights = build(tmp_path / "source", "diffusers", dtype=kind)
    made = convert(tmp_path / "source", tmp_path / "made", dtype=name)
    dtype = {"BF16": mx.bfloat16, "F16": mx.float16}[kind]
    for key, value in stored(made, "transformer").items():
        exact = "_norm_" in key or key == "pos_frequencies"
        assert value.dtype == (mx.float32 if exact else dtype), key
        kept = as_dtype(weights["transformer"][key], kind)
        meant = (kept.astype(np.uint32) << 16).view(np.float32) if kind == "BF16" else kept
        np.testing.assert_array_equal(np.array(value.astype(mx.float32)), meant, err_msg=key)
    assert {value.dtype for value in stored(made, "vae").values()} == {mx.float32}


def test_fastmochi_is_told_by_its_name_or_by_model(tmp_path):
    build(tmp_path / "FastMochi")
    assert open_model(convert(tmp_path / "FastMochi", tmp_path / "a")).preset.id == "fastmochi"
    build(tmp_path / "other")
    made = convert(tmp_path / "other", tmp_path / "b", model="fastmochi")
    assert open_model(made).preset.id == "fastmochi"
    refused(tmp_path / "FastMochi", tmp_path, MlxWanError, model="mochi-1")
    refused(tmp_path / "other", tmp_path, MlxWanError, model="wan2.1-t2v-1.3b")


def test_a_second_copy_of_the_table_of_tokens_is_left_out(tmp_path):
    build(tmp_path / "source", "comfyui")
    encoder = foreign_of("original")["text_encoder"]
    encoder["encoder.embed_tokens.weight"] = encoder["shared.weight"]
    place = tmp_path / "source" / "text_encoders" / "t5xxl_fp16.safetensors"
    write_safetensors(place, encoder)
    made = convert(tmp_path / "source", tmp_path / "made", dtype="fp32")
    (dropped,) = json.loads((made / "config.json").read_text())["dropped"]
    assert dropped["name"] == "encoder.embed_tokens.weight" and "shared" in dropped["reason"]
    plain = stored(made, "text_encoder")
    del encoder["shared.weight"]  # the only copy then
    write_safetensors(place, encoder)
    again = convert(tmp_path / "source", tmp_path / "again", dtype="fp32")
    assert mx.array_equal(
        stored(again, "text_encoder")["token_embedding.weight"], plain["token_embedding.weight"]
    )


@pytest.mark.parametrize("missing", ["dit.safetensors", "text_encoder", "tokenizer", "vae"])
def test_a_part_that_is_missing_is_named(missing, tmp_path):
    source = tmp_path / "source"
    build(source)
    said = {
        "dit.safetensors": "has no transformer",
        "text_encoder": "has no T5 text encoder",
        "tokenizer": "has no spiece.model",
        "vae": "has no Mochi VAE",
    }
    for name in {"vae": ["encoder.safetensors", "decoder.safetensors"]}.get(missing, [missing]):
        (source / name).rename(tmp_path / name)
    assert said[missing] in refused(source, tmp_path)


# --- the VAE in two files ----------------------------------------------------------------------


@pytest.mark.parametrize("half", checkpoints_mochi.HALVES)
def test_half_a_vae_is_refused(half, tmp_path):
    """Kijai's repository has the decoder alone: the encoder must be put beside it."""
    source = tmp_path / "source"
    build(source)
    other = next(name for name in checkpoints_mochi.HALVES if name != half)
    (source / f"{other}.safetensors").unlink()
    told = refused(source, tmp_path)
    assert f"{half}.safetensors: {half}" in told and "encoder and decoder" in told


def test_of_two_equal_halves_none_is_chosen(tmp_path):
    source = tmp_path / "source"
    build(source)
    (source / "decoder_bf16.safetensors").write_bytes((source / "decoder.safetensors").read_bytes())
    assert "decoder.safetensors and decoder_bf16.safetensors" in refused(source, tmp_path)
    (source / "elsewhere").mkdir()
    (source / "decoder_bf16.safetensors").rename(source / "elsewhere" / "decoder.safetensors")
    convert(source, tmp_path / "made")  # the two that lie together are one VAE


def test_halves_whose_names_do_not_matter(tmp_path):
    source = tmp_path / "source"
    build(source)
    (source / "encoder.safetensors").rename(source / "a.safetensors")
    (source / "decoder.safetensors").rename(source / "b.safetensors")
    convert(source, tmp_path / "made")


def test_halves_of_different_vaes_are_refused(tmp_path):
    source = tmp_path / "source"
    build(source)
    decoder = half_of(foreign_of("original")["vae"], "decoder")
    for name in [name for name in decoder if name.startswith("blocks.2.blocks.1.")]:
        del decoder[name]
    write_safetensors(source / "decoder.safetensors", decoder)
    assert "lacks" in refused(source, tmp_path, BadFileError)


# --- shares of fused tensors -------------------------------------------------------------------


@pytest.mark.parametrize("bits", [8, 4])
def test_shares_are_quantised_as_tensors_of_their_own(bits, tmp_path):
    found = {}
    for layout in ("original", "diffusers", "pickled"):
        weights = build(tmp_path / layout, layout)["transformer"]
        made = convert(tmp_path / layout, tmp_path / f"{layout}-q", quantize=bits, group_size=32)
        assert verify(made) == []
        found[layout] = stored(made, "transformer")
    plain = found["original"]
    for other in found.values():
        assert other.keys() == plain.keys()
        assert all(mx.array_equal(other[name], plain[name]) for name in plain)
    quantized = [name for name in weights if is_quantized("mochi_transformer", name)]
    # q, k, v, out, and two or three matrices behind each; the last block's text ends early
    assert len(quantized) == 3 * (4 + 3 + 4 + 3) - 4
    for name in quantized:
        codes, scales, biases = mx.quantize(mx.array(weights[name]), group_size=32, bits=bits)
        stem = name.removesuffix(".weight")
        assert mx.array_equal(plain[name], codes), name
        assert mx.array_equal(plain[f"{stem}.scales"], scales.astype(mx.bfloat16)), name
        assert mx.array_equal(plain[f"{stem}.biases"], biases.astype(mx.bfloat16)), name
    folder = open_model(made)
    for name in ("transformer", "text_encoder"):
        assert folder[name].quantization == {"bits": bits, "group_size": 32}
        load_network(folder[name])


def test_one_scale_of_a_fused_float8_weight_counts_for_all_its_shares(tmp_path):
    source = tmp_path / "source"
    weights = build(source, "comfyui")["transformer"]
    tensors, dtypes, values = fused_float8(foreign_of("original")["transformer"])
    (file,) = (source / "diffusion_models").iterdir()
    write_safetensors(file, tensors, dtypes)
    made = convert(source, tmp_path / "made", dtype="fp32")
    found = stored(made, "transformer")
    assert found.keys() == weights.keys()
    for name, array in weights.items():
        meant = array
        for stream in "xy":
            for index, part in enumerate("qkv"):
                if name.endswith(f".attn.{part}_{stream}.weight"):
                    fused = name.replace(f".{part}_{stream}.", f".qkv_{stream}.")
                    meant = np.split(values[fused], 3)[index]
        np.testing.assert_array_equal(np.array(found[name]), meant, err_msg=name)


@pytest.mark.parametrize("layout", ["original", "pickled"])
@pytest.mark.parametrize("options", [{}, {"quantize": 8, "group_size": 32}], ids=["bf16", "q8"])
def test_an_interrupted_conversion_goes_on_between_shares(options, layout, tmp_path, monkeypatch):
    monkeypatch.setattr(writing, "SHARD_BYTES", 60_000)
    source = tmp_path / "source"
    build(source, layout)
    whole = convert(source, tmp_path / "whole", **options)
    files = {p.relative_to(whole): p.read_bytes() for p in whole.rglob("*") if p.is_file()}
    plain = work.convert_piece

    def failing(piece):
        if piece.job.name == "blocks.1.attn.v_x.weight":
            raise KeyboardInterrupt
        return plain(piece)

    with monkeypatch.context() as patch:
        patch.setattr(work, "convert_piece", failing)
        with pytest.raises(KeyboardInterrupt):
            convert(source, tmp_path / "made", **options)
    journal = json.loads((tmp_path / "made.partial" / "journal.json").read_text())
    assert journal["shards"]
    made = convert(source, tmp_path / "made", **options)
    again = {p.relative_to(made): p.read_bytes() for p in made.rglob("*") if p.is_file()}
    assert again == files and verify(made) == []
    # what config.json says of the sources is the hash of whole files, shares or not
    damaged = max((made / "transformer").glob("*.safetensors"))
    raw = bytearray(damaged.read_bytes())
    raw[-1] ^= 1
    damaged.write_bytes(raw)
    (problem,) = verify(made)
    assert problem.startswith(f"transformer/{damaged.name}: has other contents")


def test_pieces_of_shares_are_no_larger_than_others(tmp_path, monkeypatch):
    """A fused tensor is read share by share, and a share piece by piece."""
    from mlx_wan.convert import read

    monkeypatch.setattr(read, "PIECE_BYTES", 4096)
    sizes = []
    plain = work.convert_piece

    def seen(piece):
        if ".qkv" in piece.job.name or ".attn." in piece.job.name:
            sizes.append(piece.data.nbytes)
        return plain(piece)

    monkeypatch.setattr(work, "convert_piece", seen)
    weights = build(tmp_path / "source")["transformer"]
    made = convert(tmp_path / "source", tmp_path / "made", dtype="fp32")
    assert max(sizes) == 4096
    found = stored(made, "transformer")
    for name, values in weights.items():
        np.testing.assert_array_equal(np.array(found[name]), values, err_msg=name)


# --- hostile -----------------------------------------------------------------------------------


def _changed(name, change):
    def apply(tensors):
        tensors[name] = change(tensors[name])

    return apply


QKV, KV = "blocks.1.attn.qkv_x.weight", "t5_y_embedder.to_kv"
HOSTILE = {
    "fused tensor missing": (lambda t: t.pop(QKV), "lacks 3 of"),
    "half of a pair missing": (lambda t: t.pop(f"{KV}.bias"), "lacks 2 of"),
    "rows that three cannot share": (_changed(QKV, lambda a: a[:-1]), "cannot share"),
    "rows that two cannot share": (_changed(f"{KV}.weight", lambda a: a[1:]), "cannot share"),
    "shares too small": (_changed(QKV, lambda a: a[:-3]), "does not fit"),
    "shares too large": (_changed(QKV, lambda a: np.concatenate([a, a])), "does not fit"),
    "shares too narrow": (_changed(QKV, lambda a: a[:, 1:]), "does not fit"),
    "a vector": (_changed(QKV, lambda a: a[:, 0]), "does not fit"),
    "a scalar": (_changed(f"{KV}.bias", lambda a: a[0]), "does not fit"),
    "no rows": (_changed(QKV, lambda a: a[:0]), "does not fit"),
    "a block missing": (
        lambda t: [t.pop(name) for name in list(t) if name.startswith("blocks.1.")],
        "blocks.1 is missing",
    ),
    "the last block missing": (
        lambda t: [t.pop(name) for name in list(t) if name.startswith("blocks.2.")],
        "",
    ),
    "an extra tensor": (lambda t: t.update({"blocks.0.extra.weight": t[QKV]}), "are no part of"),
    "a tensor of no block": (lambda t: t.update({"blocks.2.attn.proj_y.weight": t[QKV]}), ""),
    "shares where there are none": (
        lambda t: t.update({"blocks.0.attn.q_x.weight": t[QKV][:64]}),
        "are no part of",
    ),
    "a patch of another size": (
        _changed("x_embedder.proj.weight", lambda a: a[..., :1]),
        "",
    ),
    "integers": (_changed(QKV, lambda a: a.astype(np.int32)), "in I32"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_transformers_are_refused(case, tmp_path):
    change, said = HOSTILE[case]
    build(tmp_path / "source")
    tensors = foreign_of("original")["transformer"]
    change(tensors)
    write_safetensors(tmp_path / "source" / "dit.safetensors", tensors)
    assert said in refused(tmp_path / "source", tmp_path, MlxWanError)


def test_a_fused_tensor_stored_transposed_is_refused(tmp_path):
    """A share of its rows would not be one range of bytes."""
    source = tmp_path / "source"
    build(source, "pickled")
    tensors = foreign_of("original")["transformer"]
    rows, columns = tensors[QKV].shape
    write_pth(source / "dit.pth", tensors)
    raw = (source / "dit.pth").read_bytes()
    number = list(tensors).index(QKV)
    plain = text(QKV) + pickled_tensor(str(number), (rows, columns))
    turned = text(QKV) + pickled_tensor(str(number), (rows, columns), strides=(1, rows))
    assert raw.count(plain) == 1 and len(plain) == len(turned)
    (source / "dit.pth").write_bytes(raw.replace(plain, turned))
    assert "transposed" in refused(source, tmp_path, BadFileError)


SETTINGS = {
    "transformer": {
        "num_layers": 48,
        "num_attention_heads": 24,
        "pooled_projection_dim": 1536,
        "in_channels": 16,
        "max_sequence_length": 10**400,
        "text_embed_dim": 4096,
    },
    "vae": {
        "latents_mean": [0.0] * 11,
        "latents_std": [0.0] * 12,
        "latent_channels": 16,
        "encoder_block_out_channels": [64, 128, 256, 384],
        "layers_per_block": [3, 3, 4, 6, 3],
        "temporal_expansions": [1, 2, 2],
    },
    "text_encoder": {"layer_norm_epsilon": 10**400, "d_model": 4096, "num_layers": 24},
}


@pytest.mark.parametrize(
    ("part", "key"), [(part, key) for part, keys in SETTINGS.items() for key in keys]
)
def test_settings_that_contradict_the_tensors_are_refused(part, key, tmp_path):
    source = tmp_path / "source"
    build(source, "diffusers")
    file = source / part / "config.json"
    write_json(file, {**json.loads(file.read_text()), key: SETTINGS[part][key]})
    refused(source, tmp_path, MlxWanError)


def test_a_text_encoder_of_another_model_is_refused(tmp_path):
    source = tmp_path / "source"
    build(source, "comfyui")
    network = checkpoints_mochi.random_weights("umt5", T5, 0)
    foreign = checkpoints_mochi.to_layout("umt5", "diffusers", network)
    write_safetensors(source / "text_encoders" / "t5xxl_fp16.safetensors", foreign)
    assert "UMT5" in refused(source, tmp_path)
