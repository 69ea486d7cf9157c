"""A whole guided run of Mochi against diffusers' transformer, scheduler and VAE, and T5."""

from pathlib import Path

import numpy as np
import pytest
import tiny_mochi
import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from mlx.utils import tree_flatten

from mlx_wan import (
    Experts,
    Request,
    decode,
    denoise,
    encode_prompt,
    make_plan,
    open_model,
    start_noise,
)
from mlx_wan.bench.networks_mochi import (
    diffusers_transformer,
    diffusers_vae,
    diffusers_velocity,
    run_diffusers_vae,
    transformers_t5,
)
from mlx_wan.loading import load_network, load_tokenizer

pytestmark = pytest.mark.reference


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    return tiny_mochi.model(tmp_path_factory.mktemp("mochi") / "tiny")


def weights(folder, name: str) -> dict[str, np.ndarray]:
    network = load_network(folder[name])
    return {key: np.array(value) for key, value in tree_flatten(network.parameters())}


def relative(ours, theirs) -> float:
    ours, theirs = np.asarray(ours), np.asarray(theirs)
    return float(np.abs(ours - theirs).max() / np.abs(theirs).max())


@torch.no_grad()
def padded(t5, ids: list[int], length: int) -> tuple[np.ndarray, np.ndarray]:
    """As MochiPipeline has it with force_zeros_for_empty_prompt: (1, length, dim), (1, length)."""
    mask = np.arange(length)[None] < len(ids)
    row = torch.tensor([ids + [0] * (length - len(ids))])
    return t5(row, attention_mask=torch.tensor(mask).long()).last_hidden_state.numpy(), mask


def theirs_of(plan, folder, negative: list[int], noise: np.ndarray) -> np.ndarray:
    """MochiPipeline's loop, from noise to latents, channels last."""
    config = tiny_mochi.TRANSFORMER
    transformer = diffusers_transformer(config, weights(folder, "transformer"))
    t5_config = tiny_mochi.T5 | {"vocab_size": 100, "dim": config["text_dim"]}
    t5 = transformers_t5(t5_config, weights(folder, "text_encoder"))
    positive = load_tokenizer(folder, cleaned=False)(plan.prompt)
    prompts = [padded(t5, ids, config["text_len"]) for ids in (negative, positive)]
    scheduler = FlowMatchEulerDiscreteScheduler(invert_sigmas=True)
    scheduler.set_timesteps(sigmas=np.array(plan.sigmas[:-1]))
    latents = torch.tensor(noise)
    for time in scheduler.timesteps:
        told = np.array([1000 - time.item()])
        without, with_prompt = (
            -torch.tensor(diffusers_velocity(transformer, latents.numpy(), told, *prompt))
            for prompt in prompts
        )
        guided = without + plan.experts[0].guidance_scale * (with_prompt - without)
        latents = scheduler.step(guided, time, latents, return_dict=False)[0]
    return latents.numpy()


@pytest.mark.parametrize("negative", ["", "soft gold particles"])
def test_a_whole_run_agrees(model, negative):
    plan = make_plan(
        Request(
            "a slow camera moves",
            negative_prompt=negative,
            **{"model": model, "width": 48, "height": 32, "num_frames": 13, "steps": 6, "seed": 4},
        )
    )
    folder = open_model(Path(model))
    noise = start_noise(plan)
    *_, last = denoise(plan, Experts(plan, folder, encode_prompt(plan, folder)), noise)
    # an empty negative prompt is no token: what T5 would make of one does not matter
    ids = load_tokenizer(folder, cleaned=False)(negative) if negative else []
    expected = theirs_of(plan, folder, ids, np.array(noise))
    assert relative(last.latents, expected) < 1e-3

    vae = diffusers_vae(tiny_mochi.VAE, weights(folder, "vae"))
    video = run_diffusers_vae(vae, "decode", expected)
    frames = np.concatenate(list(decode(plan, folder, last.latents)))
    assert np.abs(frames - ((video[0] + 1) * 127.5).astype(np.uint8).astype(int)).max() <= 1


def test_the_schedule_is_that_of_diffusers(model):
    """Times run from 0 to 1000 there."""
    plan = make_plan(Request("x", model=model, width=32, height=32, num_frames=7))
    scheduler = FlowMatchEulerDiscreteScheduler(invert_sigmas=True)
    scheduler.set_timesteps(sigmas=np.array(plan.sigmas[:-1]))
    assert np.allclose(1 - scheduler.sigmas.numpy(), plan.sigmas, atol=1e-6)
    assert np.allclose(1000 - scheduler.timesteps.numpy(), plan.timesteps, atol=1e-3)
