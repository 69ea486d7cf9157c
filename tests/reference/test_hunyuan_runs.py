"""Whole runs of HunyuanVideo against diffusers' transformer, scheduler and VAE, and transformers'
encoders: with guidance from text and from an image, and mean flow."""

from collections.abc import Sequence
from typing import Any

import mlx.core as mx
import numpy as np
import pytest
import tiny_hunyuan_text as tiny
import torch
from diffusers import (
    FlowMatchEulerDiscreteScheduler,
    HunyuanVideo15ImageToVideoPipeline,
    HunyuanVideo15Pipeline,
)
from mlx.utils import tree_flatten
from PIL import Image
from transformers import ByT5Tokenizer
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

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
from mlx_wan.bench import networks_hunyuan_text as encoders
from mlx_wan.bench.networks_hunyuan import diffusers_transformer
from mlx_wan.bench.networks_hunyuan_vae import diffusers_vae, run_diffusers
from mlx_wan.conditioning.hunyuan_prompt import BEFORE, SYSTEM
from mlx_wan.image import cover
from mlx_wan.loading import ModelFolder, load_network
from mlx_wan.plan import Plan
from mlx_wan.run import Rendering
from mlx_wan.tokenizer_qwen import QwenTokenizer

pytestmark = pytest.mark.reference
CPU = torch.device("cpu")
PICTURE = np.random.RandomState(0).randint(0, 256, (32, 48, 3)).astype(np.uint8)
KINDS = {
    "t2v": "hunyuanvideo-1.5-480p-t2v",
    "i2v": "hunyuanvideo-1.5-480p-i2v",
    "meanflow": "hunyuanvideo-1.5-480p-i2v-step-distilled",
}


def weights(folder: ModelFolder, name: str) -> dict[str, np.ndarray]:
    parameters: Any = tree_flatten(load_network(folder[name]).parameters())
    return {key: np.array(value) for key, value in parameters}


def config(folder: ModelFolder, name: str) -> dict[str, Any]:
    return dict(folder[name].config)


def relative(ours: Any, theirs: Any) -> float:
    ours, theirs = np.asarray(ours), np.asarray(theirs)
    assert ours.shape == theirs.shape
    return float(np.abs(ours - theirs).max() / np.abs(theirs).max())


def read(folder: ModelFolder, prompts: Sequence[str]) -> list[dict[str, torch.Tensor]]:
    """What their encoders make of each prompt, padded as they pad."""
    qwen = encoders.transformers_qwen(tiny.QWEN, weights(folder, "text_encoder"))
    glyphs = encoders.transformers_byt5(tiny.BYT5, weights(folder, "text_encoder_2"))
    lengths = config(folder, "transformer")
    start = len(QwenTokenizer(folder["tokenizer"].files[0])(BEFORE))
    told = []
    for prompt in prompts:
        text, text_mask = HunyuanVideo15Pipeline._get_mllm_prompt_embeds(
            qwen,
            encoders.transformers_qwen_tokenizer(),
            prompt,
            CPU,
            tokenizer_max_length=lengths["text_len"],
            system_message=SYSTEM,
            crop_start=start,
        )
        glyph, glyph_mask = HunyuanVideo15Pipeline._get_byt5_prompt_embeds(
            ByT5Tokenizer(extra_ids=0), glyphs, prompt, CPU, lengths["glyph_len"]
        )
        told.append(
            {
                "encoder_hidden_states": text,
                "encoder_attention_mask": text_mask.bool(),
                "encoder_hidden_states_2": glyph,
                "encoder_attention_mask_2": glyph_mask.bool(),
            }
        )
    return told


def look(folder: ModelFolder, vae: Any, plan: Plan) -> tuple[torch.Tensor, torch.Tensor]:
    """The image's rows, and the condition's channels (1, C + 1, T, H, W); zeros without one."""
    channels = plan.latent_shape[-1]
    given = torch.zeros(1, channels + 1, *plan.latent_shape[1:4])
    if plan.image is None:
        width = config(folder, "transformer")["vision_dim"]
        return torch.zeros(1, 3, width), given
    picture = cover(PICTURE, (plan.width, plan.height))
    size, half = tiny.SIGLIP["image_size"], [0.5] * 3
    rows = HunyuanVideo15ImageToVideoPipeline._get_image_embeds(
        encoders.transformers_siglip(tiny.SIGLIP, weights(folder, "image_encoder")),
        SiglipImageProcessorPil(
            size={"height": size, "width": size}, image_mean=half, image_std=half
        ),
        Image.fromarray(picture),
        CPU,
    )
    pixels = picture.astype(np.float32)[None, None] / 127.5 - 1
    first = torch.tensor(run_diffusers(vae, "encode", pixels)).movedim(-1, 1)
    given[:, :channels, :1], given[:, channels, :1] = first, 1
    return rows, given


@torch.inference_mode()
def theirs_of(
    plan: Plan, folder: ModelFolder, vae: Any, noise: np.ndarray, low: torch.Tensor | None = None
) -> np.ndarray:
    """HunyuanVideo15ImageToVideoPipeline's loop, from noise to latents, channels last; around
    `low`, a small video's latents mixed with noise, that of the original's super resolution."""
    transformer = diffusers_transformer(
        config(folder, "transformer"), weights(folder, "transformer")
    )
    prompts = [plan.negative_prompt, plan.prompt] if plan.guided else [plan.prompt]
    told, (vision, given) = read(folder, prompts), look(folder, vae, plan)
    scheduler: Any = FlowMatchEulerDiscreteScheduler(shift=plan.shift)
    scheduler.set_timesteps(sigmas=np.linspace(1, 0, plan.steps + 1)[:-1])
    times = scheduler.timesteps
    assert np.allclose(times, plan.timesteps, rtol=1e-5)
    mean_flow = config(folder, "transformer")["use_meanflow"]
    latents = torch.tensor(noise).movedim(-1, 1)
    for i, time in enumerate(times):
        leads_to = times[i + 1] if i + 1 < len(times) else torch.tensor(0.0)
        shown = [latents, given]
        if low is not None:
            small = torch.cat([low, torch.ones_like(low[:, :1])], dim=1)
            shown.append(small if time >= 700 else torch.zeros_like(small))
        velocities = [
            transformer(
                torch.cat(shown, dim=1),
                time[None],
                timestep_r=leads_to[None] if mean_flow else None,
                image_embeds=vision,
                return_dict=False,
                **one,
            )[0]
            for one in told
        ]
        velocity = velocities[-1]
        if plan.guided:
            scale = plan.experts[0].guidance_scale
            velocity = velocities[0] + scale * (velocities[1] - velocities[0])
        latents = scheduler.step(velocity, time, latents, return_dict=False)[0]
    return latents.movedim(1, -1).numpy()


@pytest.mark.parametrize("prompt", ['a sign "OPEN" beside the road', "a slow camera moves"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_whole_run_agrees(kind, prompt, tmp_path):
    model = tiny.model(tmp_path / "model", KINDS[kind])
    image = None
    if kind != "t2v":
        image = str(tmp_path / "first.png")
        Image.fromarray(PICTURE).save(image)
    plan = make_plan(
        Request(
            prompt,
            negative_prompt=None if kind == "meanflow" else "blurry",
            model=model,
            image=image,
            **{"width": 48, "height": 32, "num_frames": 9, "seed": 4},
            steps=4 if kind == "meanflow" else 6,
        )
    )
    assert (plan.width, plan.height) == (48, 32) and plan.guided == (kind != "meanflow")
    folder, noise = open_model(plan.model_path), start_noise(plan)
    condition = encode_image(plan, folder)
    *_, last = denoise(plan, Experts(plan, folder, encode_prompt(plan, folder)), noise, condition)

    settings = {"block_out_channels": (16, 16, 32, 32, 64), "num_res_blocks": 1}
    vae = diffusers_vae(settings, weights(folder, "vae"))
    expected = theirs_of(plan, folder, vae, np.array(noise))
    assert relative(last.latents, expected) < 1e-3

    video = run_diffusers(vae, "decode", expected)[0]
    frames = np.concatenate(list(decode(plan, folder, last.latents)))
    difference = np.abs(frames - ((video + 1) * 127.5).astype(np.uint8).astype(int))
    assert frames.std() > 10 and difference.max() <= 1


@pytest.mark.parametrize("kind", ["t2v", "i2v"])
def test_a_whole_super_resolution_agrees(kind, tmp_path):
    """The pipeline's second stage; the upsampler, which diffusers has not, is ours."""
    image = None
    if kind == "i2v":
        image = str(tmp_path / "first.png")
        Image.fromarray(PICTURE).save(image)
    plan = make_plan(
        Request(
            'a sign "OPEN" beside the road',
            model=tiny.model(tmp_path / "model", KINDS[kind]),
            super_resolution=tiny.model(tmp_path / "larger", "hunyuanvideo-1.5-720p-sr"),
            image=image,
            **{"width": 32, "height": 32, "num_frames": 9, "seed": 4, "steps": 2},
        )
    )
    assert plan.before is not None
    folder, rendering = open_model(plan.model_path), Rendering(plan)
    assert rendering.small is not None
    small = torch.tensor(np.array(rendering.small))[0].movedim(-1, 1)  # (T, C, h, w)
    size = plan.latent_shape[2:4]
    resized = torch.nn.functional.interpolate(small, size, mode="bilinear", align_corners=False)
    network = load_network(folder["upsampler"])
    low = network(mx.array(resized.movedim(1, -1)[None].numpy()))
    noise = mx.random.normal(low.shape, key=mx.random.split(mx.random.key(plan.seed), 3)[2])
    mixed = torch.tensor(np.array(0.3 * low + 0.7 * noise)).movedim(-1, 1)
    settings = {"block_out_channels": (16, 16, 32, 32, 64), "num_res_blocks": 1}
    vae = diffusers_vae(settings, weights(folder, "vae"))
    expected = theirs_of(plan, folder, vae, np.array(start_noise(plan)), mixed)
    assert relative(rendering.latents, expected) < 1e-3
