"""A whole run against the originals: one checkpoint, converted by us and loaded by torch.

Prompt -> UMT5 -> six guided steps through both experts -> VAE, the start noise the same.
"""

from dataclasses import dataclass

import mlx.core as mx
import numpy as np
import pytest
import torch
from checkpoints import (
    TEXT_ENCODER,
    build,
    configs,
    diffusers_config,
    diffusers_vae_config,
    to_layout,
    transformers_config,
)
from diffusers import AutoencoderKLWan, UniPCMultistepScheduler, WanTransformer3DModel
from PIL import Image
from transformers import UMT5Config, UMT5EncoderModel

from mlx_wan import (
    Experts,
    Request,
    decode,
    denoise,
    encode_image,
    encode_prompt,
    make_plan,
    open_model,
    start_noise,
)
from mlx_wan.convert import convert
from mlx_wan.loading import load_tokenizer
from mlx_wan.plan import Plan

pytestmark = pytest.mark.reference
SIZES = {"t2v": (48, 32), "i2v": (48, 32), "ti2v": (96, 64)}
MODELS = {"t2v": "wan2.2-t2v-a14b", "i2v": "wan2.2-i2v-a14b", "ti2v": "wan2.2-ti2v-5b"}


@dataclass
class Torch:
    """The originals, filled from the same checkpoint."""

    experts: dict[str, WanTransformer3DModel]
    text_encoder: UMT5EncoderModel
    vae: AutoencoderKLWan
    text_len: int


def load_torch(model: str, weights: dict[str, dict[str, np.ndarray]], text_len: int) -> Torch:
    experts = {}
    for component, (network, config) in configs(model).items():
        state = {
            name: torch.tensor(np.ascontiguousarray(array))
            for name, array in to_layout(network, weights[component], "diffusers").items()
        }
        if network == "wan_transformer":
            arguments = diffusers_config(config)
            del arguments["_class_name"]
            theirs = WanTransformer3DModel(qk_norm="rms_norm_across_heads", **arguments)
            theirs.load_state_dict(state)
            experts[component] = theirs.eval()
        elif network == "umt5":
            arguments = transformers_config(TEXT_ENCODER)
            text_encoder = UMT5EncoderModel(UMT5Config(**arguments, feed_forward_proj="gated-gelu"))
            # the checkpoint stores its text encoder in bfloat16
            state = {name: array.bfloat16().float() for name, array in state.items()}
            missing = text_encoder.load_state_dict(state, strict=False).missing_keys
            assert missing in ([], ["encoder.embed_tokens.weight"])
        else:
            arguments = diffusers_vae_config(config)
            del arguments["_class_name"]
            arguments = {k: list(v) if isinstance(v, tuple) else v for k, v in arguments.items()}
            if network == "wan_vae22":
                arguments = vae22_arguments(arguments)
            vae = AutoencoderKLWan(**arguments)
            vae.load_state_dict(state)
    return Torch(experts, text_encoder.eval(), vae.eval(), text_len)


def vae22_arguments(values: dict) -> dict:
    patch = values.pop("patch_size", 2)
    return values | {
        "is_residual": True,
        "in_channels": 3 * patch**2,
        "out_channels": 3 * patch**2,
        "patch_size": patch,
        "scale_factor_spatial": 16,
    }


@torch.no_grad()
def torch_embeds(theirs: Torch, ids: list[int]) -> torch.Tensor:
    """(1, text_len, dim): the valid rows, then zeros (wan/modules/model.py)."""
    rows = theirs.text_encoder(torch.tensor([ids])).last_hidden_state
    return torch.nn.functional.pad(rows, (0, 0, 0, theirs.text_len - rows.shape[1]))


@torch.no_grad()
def torch_encode(theirs: Torch, frames: np.ndarray) -> torch.Tensor:
    """uint8 or [-1, 1] frames (T, H, W, 3) -> normalised latents (1, C, T, H, W)."""
    if frames.dtype == np.uint8:
        frames = frames.astype(np.float32) / 255 * 2 - 1
    video = torch.tensor(frames).permute(3, 0, 1, 2)[None]
    config = theirs.vae.config
    mean, std = (
        torch.tensor(values).view(1, -1, 1, 1, 1)
        for values in (config.latents_mean, config.latents_std)
    )
    return (theirs.vae.encode(video).latent_dist.mode() - mean) / std


def torch_channels(theirs: Torch, plan: Plan, pixels: np.ndarray) -> torch.Tensor:
    """Mask and image latents of I2V-A14B (wan/image2video.py): (1, 4 + 16, T, H, W)."""
    video = np.zeros((plan.num_frames, *pixels.shape), np.float32)
    video[0] = pixels.astype(np.float32) / 255 * 2 - 1
    latents = torch_encode(theirs, video)
    mask = torch.zeros(1, plan.num_frames, *latents.shape[-2:])
    mask[:, 0] = 1
    mask = torch.cat([mask[:, :1].repeat(1, 4, 1, 1), mask[:, 1:]], dim=1)
    mask = mask.view(1, -1, 4, *latents.shape[-2:]).transpose(1, 2)
    return torch.cat([mask, latents], dim=1)


@torch.no_grad()
def torch_run(theirs: Torch, plan: Plan, prompt, negative, noise, channels, first):
    """The reference's loop (wan/text2video.py): (B, C, T, H, W) latents."""
    scheduler = UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True)
    scheduler.set_timesteps(plan.steps)
    # their own sigma grid is another one; the loop is compared on the original's
    scheduler.sigmas = torch.tensor(plan.sigmas)
    scheduler.timesteps = torch.tensor(plan.timesteps)
    latents = noise
    if first is not None:
        latents = torch.cat([first, latents[:, :, 1:]], dim=2)
    for timestep in scheduler.timesteps:
        name = next(iter(theirs.experts))
        if len(theirs.experts) == 2:
            boundary = 900 if channels is not None else 875
            name = "high_noise" if timestep >= boundary else "low_noise"
        scale = next(e.guidance_scale for e in plan.experts if e.name == name)
        inputs = latents if channels is None else torch.cat([latents, channels], dim=1)
        time = timestep[None]
        if first is not None:
            time = timestep.repeat(1, plan.tokens)
            time[:, : plan.tokens // plan.latent_shape[1]] = 0
        cond = theirs.experts[name](inputs, time, prompt, return_dict=False)[0]
        uncond = theirs.experts[name](inputs, time, negative, return_dict=False)[0]
        velocity = uncond + scale * (cond - uncond)
        latents = scheduler.step(velocity, timestep, latents, return_dict=False)[0]
        if first is not None:
            latents = torch.cat([first, latents[:, :, 1:]], dim=2)
    return latents


def relative(ours, theirs) -> float:
    ours, theirs = np.array(ours), np.asarray(theirs)
    return float(np.abs(ours - theirs).max() / np.abs(theirs).max())


def channels_first(x: mx.array) -> torch.Tensor:
    return torch.tensor(np.array(x)).permute(0, 4, 1, 2, 3)


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("layout", ["original", "diffusers"])
def test_a_whole_run_agrees(kind, layout, tmp_path):
    weights = build(tmp_path / "source", MODELS[kind], layout, seed=11)
    convert(tmp_path / "source", tmp_path / "model", dtype="fp32")
    width, height = SIZES[kind]
    image = None
    if kind != "t2v":
        image = str(tmp_path / "first.png")
        pixels = np.random.default_rng(1).integers(0, 255, (height, width, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(image)
    request = Request(
        "a red fox in the snow",
        negative_prompt="blurry",
        model=str(tmp_path / "model"),
        image=image,
        width=width,
        height=height,
        num_frames=9,
        steps=6,
        seed=4,
    )
    plan = make_plan(request)
    folder = open_model(plan.model_path)
    text_len = folder[plan.experts[0].name].config["text_len"]
    assert text_len == (32 if layout == "original" else 512)  # diffusers does not say it
    theirs = load_torch(MODELS[kind], weights, text_len)

    embeds, tokenizer = encode_prompt(plan, folder), load_tokenizer(folder)
    prompt = torch_embeds(theirs, tokenizer(plan.prompt))
    negative = torch_embeds(theirs, tokenizer(plan.negative_prompt))
    assert relative(embeds.prompt_embeds, prompt[:, : embeds.prompt_embeds.shape[1]]) < 1e-4

    condition = encode_image(plan, folder)
    channels = first = None
    if kind == "i2v":
        channels = torch_channels(theirs, plan, pixels)
        assert relative(channels_first(condition.channels), channels) < 1e-4
    if kind == "ti2v":
        first = torch_encode(theirs, pixels[None])
        assert relative(channels_first(condition.first_frame), first) < 1e-4
    noise = start_noise(plan)
    *_, last = denoise(plan, Experts(plan, folder, embeds), noise, condition)
    expected = torch_run(
        theirs,
        plan,
        prompt,
        negative,
        channels_first(noise),
        channels,
        first,
    )
    assert len(
        {expert.name for expert in plan.experts if expert.last_step > expert.first_step}
    ) == (1 if kind == "ti2v" else 2)
    assert relative(last.latents, expected.permute(0, 2, 3, 4, 1)) < 1e-3

    with torch.no_grad():
        config = configs(MODELS[kind])["vae"][1]
        mean, std = (
            torch.tensor(values).view(1, -1, 1, 1, 1)
            for values in (config.latents_mean, config.latents_std)
        )
        video = theirs.vae.decode(expected * std + mean).sample.clamp(-1, 1)
    reference = ((video[0].permute(1, 2, 3, 0).numpy() + 1) * 127.5).astype(np.uint8)
    frames = np.concatenate(list(decode(plan, folder, last.latents)))
    difference = np.abs(frames.astype(int) - reference.astype(int))
    assert difference.max() <= 1, difference.max()
