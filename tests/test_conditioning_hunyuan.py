"""HunyuanVideo from a prompt and an image to what its network is told, on tiny random networks."""

import mlx.core as mx
import numpy as np
import pytest
import tiny_hunyuan_text as tiny
from PIL import Image

from mlx_wan import Request, encode_prompt, make_plan, open_model
from mlx_wan.conditioning import encode_image, hunyuan
from mlx_wan.conditioning.buckets import nearest_size, sizes
from mlx_wan.conditioning.hunyuan_prompt import prompt_tokens
from mlx_wan.errors import ModelError, UsageError
from mlx_wan.image import cover
from mlx_wan.loading import load_network
from mlx_wan.models import byt5, qwen25vl, siglip
from mlx_wan.plan import Plan
from mlx_wan.planning import plan_for
from mlx_wan.presets import PRESETS
from mlx_wan.published import published_folder
from mlx_wan.roofline import work
from mlx_wan.tokenizer_qwen import QwenTokenizer

SMALL = {"width": 32, "height": 48, "num_frames": 9, "steps": 2, "seed": 3}
PROMPT = 'a neon sign that says "OPEN"'
PICTURE = np.random.RandomState(0).randint(0, 256, (50, 90, 3)).astype(np.uint8)


@pytest.fixture(scope="module")
def t2v(tmp_path_factory) -> str:
    return tiny.model(tmp_path_factory.mktemp("hunyuan") / "t2v")


@pytest.fixture(scope="module")
def i2v(tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("hunyuan") / "i2v"
    return tiny.model(folder, "hunyuanvideo-1.5-480p-i2v")


@pytest.fixture(scope="module")
def picture(tmp_path_factory) -> str:
    file = tmp_path_factory.mktemp("picture") / "first.png"
    Image.fromarray(PICTURE).save(file)
    return str(file)


def planned(model: str, prompt: str = PROMPT, **changes) -> Plan:
    return make_plan(Request(prompt, model=model, **SMALL | changes))


def same(a: mx.array, b: mx.array) -> bool:
    return a.shape == b.shape and bool(mx.allclose(a, b, rtol=1e-5, atol=1e-5))


# prompts


def test_a_prompt_is_read_in_its_chat_and_the_chats_beginning_is_left_out(t2v):
    folder = open_model(t2v)
    embeds = encode_prompt(planned(t2v, negative_prompt="red"), folder)
    tokenizer = QwenTokenizer(folder["tokenizer"].files[0])
    encoder = load_network(folder["text_encoder"])
    for text, made in (
        (PROMPT, embeds.prompt_embeds),
        ("red", embeds.negative_prompt_embeds),
    ):
        chat = prompt_tokens(tokenizer, text, 64)
        (states,) = qwen25vl.encode(encoder, [chat.ids])
        assert same(made.text, states[:, chat.start :])
        assert made.vision is None and made.text_mask is None
    assert embeds.cut == ()


def test_quoted_texts_are_read_from_the_prompt_only(t2v):
    folder = open_model(t2v)
    embeds = encode_prompt(planned(t2v, negative_prompt='not "CLOSED"'), folder)
    ids = byt5.token_ids('Text "OPEN". ', 32)
    (rows,) = byt5.encode(load_network(folder["text_encoder_2"]), [ids])
    assert same(embeds.prompt_embeds.glyph, rows)
    assert embeds.negative_prompt_embeds.glyph is None


def test_without_quoted_text_or_guidance_nothing_is_read_for_them(t2v, monkeypatch):
    read = []

    def load(component, **options):
        read.append(component.name)
        return load_network(component, **options)

    monkeypatch.setattr(hunyuan, "load_network", load)
    plan = planned(t2v, "waves", guidance_scale=1.0)
    embeds = encode_prompt(plan, open_model(t2v))
    assert read == ["text_encoder"]
    assert embeds.prompt_embeds.glyph is None and embeds.negative_prompt_embeds is None


def test_an_empty_negative_prompt_is_read_as_one_space(t2v):
    folder = open_model(t2v)
    empty, space = (
        encode_prompt(planned(t2v, negative_prompt=text), folder).negative_prompt_embeds
        for text in ("", " ")
    )
    assert same(empty.text, space.text) and empty.glyph is None


def test_what_does_not_fit_is_cut_and_counted(t2v):
    folder = open_model(t2v)
    embeds = encode_prompt(planned(t2v, "waves " * 40), folder)
    assert embeds.prompt_embeds.text.shape == (1, 64, 48)
    assert len(embeds.cut) == 1
    assert embeds.cut[0].startswith("the prompt's last ")
    quoted = encode_prompt(planned(t2v, f'"{"x" * 90}"'), folder)
    assert quoted.prompt_embeds.glyph.shape == (1, 32, 8)
    assert "the quoted text's last 68 tokens did not fit" in quoted.cut


def test_the_network_takes_what_the_encoders_give(i2v, picture):
    plan, folder = planned(i2v, image=picture), open_model(i2v)
    embeds, image = encode_prompt(plan, folder), encode_image(plan, folder)
    network = load_network(folder["transformer"])
    latents = mx.random.normal(plan.latent_shape, key=mx.random.key(1))
    velocities = []
    for prompt in (embeds.prompt_embeds, embeds.negative_prompt_embeds):
        told = network.condition(prompt, network.grid(latents.shape))
        velocities.append(network(image.network_input(latents, 500.0), 500.0, told))
    assert velocities[0].shape == plan.latent_shape
    assert not mx.allclose(velocities[0], velocities[1], atol=1e-4)


# images


def test_the_image_is_looked_at_in_the_videos_size(i2v, picture):
    plan, folder = planned(i2v, image=picture), open_model(i2v)
    embeds = encode_prompt(plan, folder)
    frame = cover(PICTURE, (plan.width, plan.height))
    encoder = load_network(folder["image_encoder"])
    rows = siglip.encode(encoder, siglip.shown(frame, 45))
    assert same(embeds.prompt_embeds.vision, rows)
    assert same(embeds.negative_prompt_embeds.vision, rows)


def test_the_images_latents_are_channels_of_the_first_latent_frame(i2v, picture):
    plan, folder = planned(i2v, image=picture), open_model(i2v)
    channels = encode_image(plan, folder).channels
    assert channels.shape == (*plan.latent_shape[:-1], 33) and plan.latent_shape[1] == 3
    frame = cover(PICTURE, (plan.width, plan.height)) / np.float32(127.5) - 1
    latents = load_network(folder["vae"]).encode(mx.array(frame)[None, None])
    assert same(channels[:, :1, ..., :32], latents)
    assert bool((channels[:, :1, ..., 32] == 1).all())
    assert not bool(mx.any(channels[:, 1:]))


def test_text_to_video_has_no_channels(t2v):
    assert encode_image(planned(t2v), open_model(t2v)).channels is None
    with pytest.raises(UsageError, match="from text only"):
        planned(t2v, image="x.png")


def test_a_last_image_is_refused(i2v, picture):
    with pytest.raises(UsageError, match="takes no last frame"):
        planned(i2v, image=picture, last_image=picture)
    with pytest.raises(UsageError, match="needs a first frame"):
        planned(i2v)


@pytest.mark.parametrize(
    ("given", "size", "left", "top"),
    [
        ((40, 16), (16, 16), 12, 0),
        ((19, 16), (16, 16), 2, 0),  # 1.5 is cut off: the even number
        ((17, 16), (16, 16), 0, 0),  # and of 0.5
        ((16, 21), (16, 16), 0, 2),
        ((16, 16), (16, 16), 0, 0),
    ],
)
def test_half_a_pixel_to_cut_off_is_rounded_as_pillow_does(given, size, left, top):
    image = np.random.RandomState(1).randint(0, 256, (*given[::-1], 3)).astype(np.uint8)
    made = cover(image, size)
    assert np.array_equal(made, image[top : top + size[1], left : left + size[0]])
    excess = [(given[i] - size[i]) / 2 for i in (0, 1)]
    box = (*excess, *(excess[i] + size[i] for i in (0, 1)))
    assert np.array_equal(made, np.asarray(Image.fromarray(image).crop(box)))


# sizes


@pytest.mark.parametrize(
    ("area", "shape", "size"),
    [
        (848 * 480, (16, 9), (848, 480)),
        (848 * 480, (9, 16), (480, 848)),
        (848 * 480, (1, 1), (640, 640)),
        (848 * 480, (4, 3), (720, 544)),
        (848 * 480, (21, 9), (976, 416)),
        (544 * 720, (16, 9), (848, 480)),
        (640 * 640, (16, 9), (848, 480)),
        (1280 * 720, (16, 9), (1280, 720)),
        (1280 * 720, (9, 16), (720, 1280)),
        (1280 * 720, (4, 3), (1104, 832)),
        (1280 * 720, (21, 9), (1456, 624)),
    ],
)
def test_sizes_are_the_originals(area, shape, size):
    assert nearest_size(shape, area) == size


def test_sizes_stay_in_the_area_and_on_the_grid():
    for area in (16 * 16, 32 * 48, 500 * 300, 848 * 480, 1920 * 1080):
        for shape in ((1, 9), (3, 4), (100, 1)):
            width, height = nearest_size(shape, area)
            assert width % 16 == height % 16 == 0
            assert 0 < width * height <= max(area, 640**2 if area > 0.9 * 640**2 else area)
    assert all(max(w, h) <= 4 * min(w, h) for w, h in sizes(1600))


def test_every_size_of_a_preset_is_one_of_the_models():
    for preset in PRESETS.values():
        if preset.continues:
            firsts = PRESETS[preset.continues[0]].sizes
            made = {hunyuan.larger_size(preset, size) for size in firsts}
            assert made == set(preset.sizes)
        elif preset.family == "hunyuan":
            width, height = preset.sizes[0]
            assert all(nearest_size(size, width * height) == size for size in preset.sizes)


def test_a_plan_takes_the_size_nearest_to_the_image(tmp_path):
    file = tmp_path / "tall.png"
    Image.fromarray(np.zeros((160, 90, 3), np.uint8)).save(file)
    folder = published_folder(PRESETS["hunyuanvideo-1.5-720p-i2v"])
    plan = plan_for(Request("a fox", image=str(file)), folder)
    assert (plan.width, plan.height) == (720, 1280)
    assert plan.tokens == 31 * 45 * 80


# costs


def test_text_tokens_count_the_prompt_its_quoted_texts_and_the_image():
    t2v = published_folder(PRESETS["hunyuanvideo-1.5-480p-t2v"])
    i2v = published_folder(PRESETS["hunyuanvideo-1.5-480p-i2v"])
    assert hunyuan.text_tokens(t2v, (None, None)) == (1256, 1256)
    assert hunyuan.text_tokens(i2v, (None,)) == (1256 + 729,)
    plain, negative = hunyuan.text_tokens(t2v, ("a cat walks on the grass, realistic", ""))
    assert 10 <= plain <= 18 and negative == 6  # 13 and 6
    quoted = hunyuan.text_tokens(t2v, ('a cat "MEOW" walks', '"no"'))
    assert quoted[0] - plain > 5 and quoted[1] < 10
    assert hunyuan.text_tokens(t2v, ("word " * 5000,)) == (1000,)


def test_costs_are_those_of_the_encoder_that_needs_most():
    t2v = published_folder(PRESETS["hunyuanvideo-1.5-480p-t2v"])
    i2v = published_folder(PRESETS["hunyuanvideo-1.5-480p-i2v"])
    short, long = ((20, 6), (1256, 1256))
    assert hunyuan.text_memory(t2v, short, False) < hunyuan.text_memory(t2v, long, False) < 2.5e9
    flops = [
        work.flops(hunyuan.text_work(folder, [n + seen], image))
        for folder, n, seen, image in (
            (t2v, 20, 0, False),
            (t2v, 1000, 0, False),
            (i2v, 20, 729, True),
        )
    ]
    # 6.06 billion matrix elements for each token, of which 108 stand before the prompt
    assert flops[0] == pytest.approx(2 * 6.06e9 * 128, rel=0.02)
    assert flops[1] > 8 * flops[0]
    assert 0.5e12 < flops[2] - flops[0] < 1e12


# what does not fit together


def test_encoders_of_another_width_are_refused(tmp_path):
    for name, wrong in (("text_encoder_2", "glyph_dim"), ("image_encoder", "vision_dim")):
        made = tiny.model(tmp_path / name, "hunyuanvideo-1.5-480p-i2v", **{wrong: 16})
        with pytest.raises(ModelError, match=f"reads {name} 16 wide"):
            open_model(made)


def test_a_tokenizer_of_another_model_is_noticed(t2v, monkeypatch):
    monkeypatch.setattr(hunyuan, "load_network", lambda *_, **__: tiny.qwen(vocab_size=300))
    with pytest.raises(ModelError, match="has 323 tokens"):
        encode_prompt(planned(t2v), open_model(t2v))


# presets


@pytest.mark.parametrize(
    ("version", "shift", "guidance", "steps"),
    [
        ("480p-t2v", 5, 6, 50),
        ("480p-i2v", 5, 6, 50),
        ("720p-t2v", 9, 6, 50),
        ("720p-i2v", 7, 6, 50),
        ("480p-t2v-distilled", 5, 1, 50),
        ("480p-i2v-distilled", 5, 1, 50),
        ("720p-i2v-distilled", 7, 1, 50),
        ("480p-i2v-step-distilled", 7, 1, 12),
    ],
)
def test_defaults_are_the_originals(version, shift, guidance, steps):
    preset = PRESETS[f"hunyuanvideo-1.5-{version}"]
    assert (preset.shift, preset.experts[0].guidance_scale, preset.steps) == (
        shift,
        guidance,
        steps,
    )
    assert (preset.num_frames, preset.fps, preset.negative_prompt) == (121, 24, "")
    _, changes = preset.components["transformer"]
    assert changes.get("use_meanflow", False) == ("step" in version)
    assert preset.encoders(True) == ["text_encoder", "text_encoder_2"] + (
        ["image_encoder"] if "i2v" in version else []
    )


def test_quoted_texts_that_do_not_fit_are_told():
    """ByT5 reads bytes; of `Text "..". ` and the end 10 are not the text's."""
    assert byt5.cut_tokens('a sign says "' + "x" * 246 + '"', 256) == 0
    assert byt5.cut_tokens('a sign says "' + "x" * 250 + '"', 256) == 4
    assert byt5.cut_tokens("no sign", 256) == 0
