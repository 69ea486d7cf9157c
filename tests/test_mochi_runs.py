"""Mochi through the whole engine: tiny random networks, from a prompt to latents and frames."""

import json
from dataclasses import replace

import mlx.core as mx
import numpy as np
import pytest
import tiny_mochi

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
from mlx_wan.cli.main import run
from mlx_wan.conditioning import encode_image
from mlx_wan.errors import ModelError, UsageError
from mlx_wan.linear_quadratic import linear_quadratic
from mlx_wan.models import mochi
from mlx_wan.pipeline import GuidedExpert, Networks
from mlx_wan.plan import Plan, describe
from mlx_wan.planning import replan
from mlx_wan.run import generate

SMALL = {"width": 32, "height": 32, "num_frames": 13, "steps": 4, "seed": 3}


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    return tiny_mochi.model(tmp_path_factory.mktemp("mochi") / "tiny")


def planned(model: str, **changes) -> Plan:
    return make_plan(Request("a slow camera", model=model, **SMALL | changes))


def latents_of(plan: Plan, networks: Networks | None = None) -> np.ndarray:
    folder = open_model(plan.model_path)
    experts = Experts(plan, folder, encode_prompt(plan, folder), networks)
    *_, last = denoise(plan, experts, start_noise(plan))
    return np.array(last.latents)


def test_the_plan_has_the_authors_choices(model):
    plan = make_plan(Request("waves", model=model, width=32, height=32))
    assert (plan.steps, plan.num_frames, plan.fps, plan.solver) == (64, 163, 30, "euler")
    assert plan.experts[0].guidance_scale == 6.0 and plan.negative_prompt == ""
    schedule = linear_quadratic(64)
    assert (plan.sigmas, plan.timesteps) == (schedule.sigmas, schedule.timesteps)
    assert plan.latent_shape == (1, 28, 4, 4, 12) and plan.tokens == 28 * 2 * 2
    assert "linear-quadratic schedule" in dict(describe(plan))["sampling"]
    with pytest.raises(UsageError, match=r"163|6n\+1"):
        planned(model, num_frames=81)


def test_fastmochi_has_its_own_schedule(tmp_path):
    plan = make_plan(Request("waves", model=tiny_mochi.model(tmp_path / "fast", "fastmochi")))
    assert plan.sigmas == linear_quadratic(8, 0.1, 6).sigmas
    assert plan.experts[0].guidance_scale == 1.5


def test_solvers_and_shifts_the_schedule_does_not_have_are_refused(model):
    for solver in ("unipc", "dmd"):
        with pytest.raises(UsageError, match="schedule of its own") as error:
            planned(model, solver=solver)
        assert "euler" in error.value.hint
    with pytest.raises(UsageError, match="known are"):
        planned(model, solver="heun")
    with pytest.raises(UsageError, match="without shift"):
        planned(model, shift=5.0)
    with pytest.raises(UsageError, match="from text only"):
        planned(model, image="x.png")
    assert planned(model, solver="dpm++").sigmas == planned(model).sigmas


def test_a_recorded_plan_is_made_again(model):
    plan = make_plan(Request("waves", model=model, **SMALL), memory_limit=2**33)
    again = replan(Plan.from_dict(plan.to_dict()), None, None, memory_limit=2**33)
    assert (again.sigmas, again.memory) == (plan.sigmas, plan.memory)


def test_same_seed_same_latents_and_frames(model):
    plan = planned(model)
    first = latents_of(plan)
    assert np.isfinite(first).all() and np.array_equal(first, latents_of(plan))
    assert not np.array_equal(first, latents_of(planned(model, seed=4)))
    folder = open_model(plan.model_path)
    frames = [np.concatenate(list(decode(plan, folder, mx.array(first)))) for _ in range(2)]
    assert frames[0].shape == (13, 32, 32, 3) and frames[0].dtype == np.uint8
    assert np.array_equal(*frames)


def test_an_empty_negative_prompt_is_no_token_and_needs_no_text_encoder(model, monkeypatch):
    from mlx_wan.conditioning import t5

    plan, seen = planned(model), []
    monkeypatch.setattr(
        t5, "encode_texts", lambda f, t, texts: seen.append(texts) or [mx.ones((1, 5, 32))]
    )
    embeds = encode_prompt(plan, open_model(model))
    assert embeds.negative_prompt_embeds.shape == (1, 0, 32)
    assert seen == [["a slow camera"]]


def test_a_negative_prompt_and_guidance_count(model):
    empty, given = latents_of(planned(model)), latents_of(planned(model, negative_prompt="red"))
    assert not np.allclose(empty, given, atol=1e-4)
    alone = planned(model, guidance_scale=1.0)
    assert encode_prompt(alone, open_model(model)).negative_prompt_embeds is None
    assert not np.allclose(empty, latents_of(alone), atol=1e-4)


def test_a_negative_prompt_that_nothing_reads_is_told(model):
    told = "nothing reads the negative prompt"
    without = planned(model, guidance_scale=1.0, negative_prompt="red")
    assert without.negative_prompt == "" and any(told in note for note in without.notes)
    for plan in (planned(model, negative_prompt="red"), planned(model, guidance_scale=1.0)):
        assert not any(told in note for note in plan.notes)


def test_the_prompt_is_read_as_it_is(model):
    """Wan cleans its prompts: there the two would be one."""
    folder = open_model(model)
    plain, escaped = (
        encode_prompt(make_plan(Request(text, model=model, **SMALL)), folder)
        for text in ("red & blue", "red &amp; blue")
    )
    assert plain.prompt_embeds.shape != escaped.prompt_embeds.shape
    assert encode_image(planned(model), folder).channels is None


def test_modulation_weights_are_let_go_unless_the_network_is_kept(model):
    plan, folder = planned(model), open_model(model)
    embeds = encode_prompt(plan, folder)
    experts = Experts(plan, folder, embeds)
    network = experts.at(0).network
    assert "mod_x" not in network.blocks[0] and "shift" not in network.final_layer

    networks = Networks()
    networks.begin(plan, folder)
    assert networks.keeps
    kept = Experts(plan, folder, embeds, networks).at(0)
    assert "mod_x" in kept.network.blocks[0]
    assert kept.positive.tables.timesteps == plan.timesteps  # made once, also where kept
    assert Experts(plan, folder, embeds, networks).at(0).network is kept.network
    again = GuidedExpert(plan.experts[0], kept.network, plan, embeds, release=False)
    latents = start_noise(plan)
    for expert in (experts.at(0), again):
        out = expert.network(latents, plan.timesteps[1], expert.positive)
        assert mx.array_equal(out, kept.network(latents, plan.timesteps[1], kept.positive))


def test_a_network_that_let_go_of_weights_is_never_used_again(model):
    """Memory runs short between two runs that keep networks, and another schedule comes after."""
    plan, shorter = planned(model), planned(model, steps=2)
    tight = replace(plan, memory=replace(plan.memory, available=plan.memory.peak))
    networks, folder = Networks(), open_model(model)
    for asked, keeps in ((tight, False), (plan, True), (shorter, True), (tight, False)):
        networks.begin(asked, folder)
        assert networks.keeps == keeps
        assert np.array_equal(latents_of(asked), latents_of(asked, networks))


def test_released_weights_are_counted_exactly():
    from mlx.utils import tree_flatten

    network = tiny_mochi.transformer()

    def size() -> int:
        return sum(value.size for _, value in tree_flatten(network.parameters()))

    before = size()
    conditioning = network.condition(mx.zeros((1, 3, 32)), (1, 2, 2))
    network.precompute([conditioning], [1000.0, 500.0], release=True)
    assert before - size() == mochi.released_parameters(network.config)
    assert 2.6e9 < mochi.released_parameters(mochi.MochiConfig()) < 2.8e9


def test_components_that_do_not_fit_are_refused(tmp_path):
    from mlx_wan.bench.random_models import write_folder

    networks = {
        "transformer": ("mochi_transformer", tiny_mochi.transformer()),
        "text_encoder": ("t5", tiny_mochi.t5(vocab_size=100)),
        "vae": ("mochi_vae", tiny_mochi.vae()),
    }
    write_folder(tmp_path / "narrow", "mochi-1", networks)
    with pytest.raises(ModelError, match="reads text_encoder 32 wide, it is 24 wide"):
        open_model(tmp_path / "narrow")
    write_folder(tmp_path / "wan", "wan2.1-t2v-1.3b", networks)
    with pytest.raises(ModelError, match="has 'mochi_transformer' as transformer"):
        open_model(tmp_path / "wan")
    del networks["vae"]
    write_folder(tmp_path / "half", "mochi-1", networks)
    with pytest.raises(ModelError, match="lacks vae"):
        open_model(tmp_path / "half")


def test_from_prompt_to_video_and_record(model, tmp_path, capsys):
    words = ["generate", "waves", "--model", model, "--width", "32", "--height", "32"]
    words += ["--num-frames", "7", "--steps", "2", "--seed", "1", "--json"]
    assert run([*words, "-o", str(tmp_path / "waves.mp4")]) == 0
    assert (tmp_path / "waves.mp4").is_file() and (tmp_path / "waves.json").is_file()
    told = json.loads(capsys.readouterr().out)["record"]
    assert told["plan"]["model"] == "mochi-1" and told["prediction"]
    plan = make_plan(
        Request("waves", model=model, width=32, height=32, num_frames=7, steps=2, seed=1)
    )
    again = generate(replace(plan, output=str(tmp_path / "again.mp4"))).record
    assert again["sha256"] | {"video": ""} == told["sha256"] | {"video": ""}
