"""Conversion against torch, diffusers and transformers themselves: files, names, numbers."""

from collections import OrderedDict

import mlx.core as mx
import numpy as np
import pytest
import torch
from checkpoints import spiece_model
from diffusers import AutoencoderKLWan, WanTransformer3DModel
from mlx.utils import tree_flatten
from safetensors.torch import save_file
from transformers import UMT5Config as TheirUMT5Config
from transformers import UMT5EncoderModel

from mlx_wan.convert import convert, verify
from mlx_wan.convert.families import foreign_shapes
from mlx_wan.convert.pickle import read_pth
from mlx_wan.convert.sizes import expected_shapes
from mlx_wan.loading import load_network, open_model
from mlx_wan.models.umt5 import UMT5Config
from mlx_wan.models.vae_wan21 import WanVAE21Config
from mlx_wan.models.vae_wan22 import WanVAE22Config
from mlx_wan.models.wan import WanConfig
from mlx_wan.tensorfile import read_tensor

pytestmark = pytest.mark.reference

VAE22 = {
    "decoder_base_dim": 256,
    "z_dim": 48,
    "is_residual": True,
    "in_channels": 12,
    "out_channels": 12,
    "patch_size": 2,
    "scale_factor_spatial": 16,
    "latents_mean": [0.0] * 48,
    "latents_std": [1.0] * 48,
}


@pytest.fixture(autouse=True)
def without_gradients():
    """With them torch's batched matmul crashes beside a preloaded OpenBLAS."""
    with torch.no_grad():
        yield


def randomise(model):
    """All parameters, norms too: initial ones hide errors."""
    generator = torch.Generator().manual_seed(0)
    for name, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator) * 0.15
        parameter.data = noise + 1 if "norm" in name and "bias" not in name else noise
    return model.eval()


# --- files -------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_pth_files_read_as_torch_reads_them(protocol, tmp_path):
    layer = torch.nn.Conv3d(2, 3, (3, 1, 1))
    state = OrderedDict(layer.state_dict(prefix="conv."))
    state |= {
        "half": torch.randn(3, 4).half(),
        "bfloat16": torch.randn(5).bfloat16(),
        "parameter": torch.nn.Parameter(torch.randn(2, 2)),
        "transposed": torch.randn(4, 6).t(),
        "part": torch.randn(100)[10:20],
        "step": torch.randn(20)[::3],
        "channels_last": torch.randn(2, 3, 2, 2, 2).to(memory_format=torch.channels_last_3d),
        "scalar": torch.tensor(2.0),
        "empty": torch.zeros(0, 2),
    }
    path = tmp_path / "x.pth"
    torch.save(state, path, pickle_protocol=protocol)
    found = read_pth(path)
    assert list(found) == list(state)
    for name, info in found.items():
        meant = state[name].detach()
        if meant.dtype == torch.bfloat16:
            meant = meant.view(torch.uint16)
        np.testing.assert_array_equal(read_tensor(path, info), meant.numpy(), err_msg=name)


def test_a_pickled_module_is_refused(tmp_path):
    torch.save(torch.nn.Linear(2, 2), tmp_path / "x.pth")
    with pytest.raises(Exception, match="Linear"):
        read_pth(tmp_path / "x.pth")


def test_torchscript_is_refused(tmp_path):
    torch.jit.script(torch.nn.Linear(2, 2)).save(str(tmp_path / "x.pth"))
    with pytest.raises(Exception, match=r"x\.pth"):
        read_pth(tmp_path / "x.pth")


@pytest.mark.parametrize("kind", [torch.float8_e4m3fn, torch.float8_e5m2])
def test_float8_means_what_torch_means(kind, tmp_path):
    from mlx_wan.convert.axes import Reorder
    from mlx_wan.convert.jobs import TensorJob
    from mlx_wan.convert.quantize import convert_piece
    from mlx_wan.convert.read import Piece
    from mlx_wan.tensorfile import read_header

    codes = torch.arange(256, dtype=torch.uint8)
    save_file({"x": codes.view(kind)}, tmp_path / "x.safetensors")
    info = read_header(tmp_path / "x.safetensors")["x"]
    job = TensorJob("x", tmp_path / "x", info, Reorder((256,), None, (256,)), "F32", scale=0.5)
    (data,) = convert_piece(Piece(job, codes.numpy(), True))
    meant = codes.view(kind).float().numpy() * np.float32(0.5)
    np.testing.assert_array_equal(data.view(np.float32), meant)


@pytest.mark.parametrize(("dtype", "kind"), [("BF16", torch.bfloat16), ("F16", torch.float16)])
def test_rounding_is_torchs_for_all_kinds_of_bits(dtype, kind, tmp_path):
    from mlx_wan.convert.axes import Reorder
    from mlx_wan.convert.jobs import TensorJob
    from mlx_wan.convert.quantize import convert_piece
    from mlx_wan.convert.read import Piece
    from mlx_wan.tensorfile import TensorInfo

    bits = np.random.default_rng(0).integers(0, 2**32, 1 << 20, dtype=np.uint32)
    values = bits.view(np.float32)
    values = values[np.isfinite(values) & (np.abs(values) < 65_000)]
    job = TensorJob(
        "x",
        tmp_path / "x",
        TensorInfo("F32", values.shape, 0, values.nbytes),
        Reorder(values.shape, None, values.shape),
        dtype,
    )
    (data,) = convert_piece(Piece(job, values, True))
    meant = torch.from_numpy(values).to(kind).view(torch.uint16).numpy()
    np.testing.assert_array_equal(data.view(np.uint16), meant)


# --- names -------------------------------------------------------------------------------------

TRANSFORMERS = {
    "t2v-a14b": WanConfig(5120, 13824, 40, 40, 16, 16, 4096),
    "i2v-a14b": WanConfig(5120, 13824, 40, 40, 36, 16, 4096),
    "ti2v-5b": WanConfig(3072, 14336, 24, 30, 48, 48, 4096),
    "t2v-1.3b": WanConfig(1536, 8960, 12, 30, 16, 16, 4096),
}


def check_names(network, config, model):
    """Our full-size list, by the diffusers names and shapes, is exactly the state dict."""
    mapped = foreign_shapes(network, "diffusers", expected_shapes(network, config))
    theirs = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    theirs.pop("encoder.embed_tokens.weight", None)  # tied
    assert mapped == theirs


@pytest.mark.parametrize("variant", TRANSFORMERS)
def test_transformer_names_are_those_of_diffusers(variant):
    config = TRANSFORMERS[variant]
    with torch.device("meta"):
        model = WanTransformer3DModel(
            patch_size=(1, 2, 2),
            num_attention_heads=config.num_heads,
            attention_head_dim=128,
            in_channels=config.in_dim,
            out_channels=config.out_dim,
            text_dim=4096,
            freq_dim=256,
            ffn_dim=config.ffn_dim,
            num_layers=config.num_layers,
            cross_attn_norm=True,
            qk_norm="rms_norm_across_heads",
        )
    check_names("wan_transformer", config, model)


def test_umt5_names_are_those_of_transformers():
    settings = TheirUMT5Config(
        vocab_size=256384, d_model=4096, d_kv=64, d_ff=10240, num_layers=24, num_heads=64,
        feed_forward_proj="gated-gelu",
    )  # fmt: skip
    with torch.device("meta"):
        model = UMT5EncoderModel(settings)
    check_names("umt5", UMT5Config(256384, 4096, 4096, 10240, 64, 24), model)


def test_vae_names_are_those_of_diffusers():
    with torch.device("meta"):
        check_names("wan_vae21", WanVAE21Config(), AutoencoderKLWan())
        check_names("wan_vae22", WanVAE22Config(), AutoencoderKLWan(base_dim=160, **VAE22))


# --- numbers, through a whole conversion -------------------------------------------------------


@pytest.fixture(scope="module", params=["wan2.1-t2v-1.3b", "wan2.2-ti2v-5b"])
def both(request, tmp_path_factory):
    """Real diffusers and transformers models, saved by them, and the folder we made of it."""
    folder = tmp_path_factory.mktemp(request.param)
    channels = 48 if request.param == "wan2.2-ti2v-5b" else 16
    transformer = WanTransformer3DModel(
        patch_size=(1, 2, 2), num_attention_heads=2, attention_head_dim=32, in_channels=channels,
        out_channels=channels, text_dim=64, freq_dim=256, ffn_dim=96, num_layers=2,
        cross_attn_norm=True, qk_norm="rms_norm_across_heads", rope_max_seq_len=32,
    )  # fmt: skip
    vae = AutoencoderKLWan(
        base_dim=8, **(VAE22 | {"decoder_base_dim": 16} if channels == 48 else {})
    )
    settings = TheirUMT5Config(
        vocab_size=320, d_model=64, d_kv=16, d_ff=96, num_layers=2, num_heads=4,
        feed_forward_proj="gated-gelu", dropout_rate=0.0,
    )  # fmt: skip
    encoder = UMT5EncoderModel(settings)
    models = {"transformer": transformer, "vae": vae, "text_encoder": encoder}
    for name, model in models.items():
        randomise(model).save_pretrained(folder / "source" / name)
    (folder / "source" / "tokenizer").mkdir()
    (folder / "source" / "tokenizer" / "spiece.model").write_bytes(spiece_model())
    made = convert(folder / "source", folder / "made", dtype="fp32")
    assert verify(made) == []
    converted = open_model(made)
    assert converted.preset.id == request.param
    return models, {name: load_network(converted[name]) for name in models}


def close(ours, theirs, tolerance=1e-4):
    ours, theirs = np.array(ours), theirs.detach().numpy()
    assert ours.shape == theirs.shape
    assert np.abs(ours - theirs).max() <= tolerance * np.abs(theirs).max()


def test_the_converted_transformer_is_the_same_network(both):
    theirs, ours = (side["transformer"] for side in both)
    channels = ours.config.in_dim
    latents = torch.randn(1, channels, 3, 8, 6, generator=torch.Generator().manual_seed(1))
    text = torch.zeros(1, 512, 64)
    text[:, :7] = torch.randn(1, 7, 64, generator=torch.Generator().manual_seed(2))
    meant = theirs(latents, torch.tensor([750.0]), text, return_dict=False)[0]
    conditioning = ours.condition(mx.array(text[:, :7].numpy()), (3, 4, 3))
    found = ours(mx.array(latents.permute(0, 2, 3, 4, 1).numpy()), 750.0, conditioning)
    close(found, meant.permute(0, 2, 3, 4, 1))


def test_the_converted_text_encoder_is_the_same_network(both):
    theirs, ours = (side["text_encoder"] for side in both)
    ids = torch.randint(0, 320, (2, 40), generator=torch.Generator().manual_seed(3))
    close(ours(mx.array(ids.numpy()), None), theirs(ids).last_hidden_state)


def test_the_converted_vae_is_the_same_network(both):
    theirs, ours = (side["vae"] for side in both)
    size = 64
    frames = torch.rand(1, 3, 5, size, size, generator=torch.Generator().manual_seed(4)) * 2 - 1
    mean = torch.tensor(theirs.config.latents_mean).reshape(1, -1, 1, 1, 1)
    std = torch.tensor(theirs.config.latents_std).reshape(1, -1, 1, 1, 1)
    latents = (theirs.encode(frames).latent_dist.mode() - mean) / std
    decoded = theirs.decode(latents * std + mean).sample.clamp(-1, 1)
    close(
        ours.encode(mx.array(frames.permute(0, 2, 3, 4, 1).numpy())), latents.permute(0, 2, 3, 4, 1)
    )
    found = ours.decode(mx.array(latents.permute(0, 2, 3, 4, 1).numpy()))
    close(found, decoded.permute(0, 2, 3, 4, 1))


def test_the_original_names_through_torch_save_arrive_the_same(both, tmp_path):
    """Their weights by the original names, saved by torch.save and safetensors, converted."""
    from mlx_wan.convert.families import from_ours, to_ours

    models, networks = both
    source = tmp_path / "source"
    source.mkdir()

    def original(network, model):
        theirs = model.state_dict()
        theirs.pop("encoder.embed_tokens.weight", None)
        ours = to_ours(network, "diffusers", theirs)
        names = from_ours(network, "original", [name for (name,) in ours.values()])
        return {names[ours[name][0]].name: value.contiguous() for name, value in theirs.items()}

    vae = "wan_vae22" if networks["transformer"].config.in_dim == 48 else "wan_vae21"
    save_file(
        original("wan_transformer", models["transformer"]),
        source / "diffusion_pytorch_model.safetensors",
    )
    torch.save(original(vae, models["vae"]), source / "Wan2.1_VAE.pth")
    torch.save(original("umt5", models["text_encoder"]), source / "models_t5.pth")
    (source / "config.json").write_text('{"num_heads": 2, "text_len": 512}')
    (source / "spiece.model").write_bytes(spiece_model())
    made = open_model(convert(source, tmp_path / "made", dtype="fp32"))
    for name, network in networks.items():
        found = {}
        for file in made[name].files:
            found |= mx.load(str(file))
        for key, value in tree_flatten(network.parameters()):
            assert mx.array_equal(found[key], value), (name, key)
