"""Where words stand, how they move, and whether they can be read on the pictures under them."""

import itertools

import numpy as np
import pytest

from mlx_wan.errors import UsageError
from mlx_wan.studio.blocks import Placed
from mlx_wan.studio.brand import POSITIONS, Brand
from mlx_wan.studio.brand_preview import soft_colours
from mlx_wan.studio.contrast import AIM, READABLE, colour_ratio, luminance, ratio
from mlx_wan.studio.formats import FORMATS, Box
from mlx_wan.studio.layers import Layer, Painter, ink
from mlx_wan.studio.overlay import Overlay
from mlx_wan.studio.storyboard import Shot, Storyboard, TextBlock

ALL = (
    TextBlock("title", "AI Workforce Transformation 2026", 0, 6),
    TextBlock("content", "AI-skilled workers earn 56% more", 1, 6),
    TextBlock("cta", "Connect with Arthur Dell", 2, 6),
)


def overlay(form="wide", texts=ALL, seconds=6.0, brand: Brand | None = None, **more) -> Overlay:
    story = Storyboard(form, seconds, (Shot("soft colours", seconds),), tuple(texts))
    return Overlay(story, brand or Brand(), **more)


def black(one: Overlay) -> np.ndarray:
    return np.zeros((one.format.height, one.format.width, 3), np.uint8)


def filled(one: Overlay, colour: int | tuple[int, int, int]) -> np.ndarray:
    frame = black(one)
    frame[:] = colour
    return frame


def touching(one: Box, other: Box) -> bool:
    across = min(one.right, other.right) - max(one.left, other.left)
    return across > 0 and min(one.bottom, other.bottom) > max(one.top, other.top)


def block(one: Overlay, name: str) -> Placed:
    return next(placed for placed in one.placed if placed.name == name)


@pytest.mark.parametrize(("form", "position"), list(itertools.product(FORMATS, POSITIONS)))
def test_everything_is_safe_and_apart(form, position):
    texts = (
        *ALL,
        TextBlock("hook", "The AI skills premium is real", 0, 5),
        TextBlock("content", "It grows every year", 3, 6),
    )
    one = overlay(form, texts, brand=Brand(position=position))
    assert len(one.boxes) == 6
    for box in one.boxes.values():
        assert one.format.safe.contains(box)
    for first, second in itertools.combinations(one.placed, 2):
        if first.start < second.end and second.start < first.end:
            assert not touching(first.box, second.box), (first.name, second.name)
    signature, safe = one.boxes["signature"], one.format.safe
    assert (signature.right == safe.right) == position.endswith("right")
    assert (signature.top < safe.top + safe.height / 2) == position.startswith("top")


def test_words_are_ordered_by_importance():
    one = overlay()
    title, content, cta = (one.boxes[name] for name in ("title", "content", "cta"))
    assert title.bottom < content.top < content.bottom < cta.top
    sizes = [block(one, name).size for name in ("title", "content", "cta", "signature")]
    assert sizes == sorted(sizes, reverse=True)


def test_right_to_left_words_begin_at_the_right():
    texts = (
        TextBlock("hook", "مهارات الذكاء الاصطناعي", 0, 6),
        TextBlock("cta", "تواصل معنا", 0, 6),
    )
    one = overlay(texts=texts)
    assert one.boxes["hook"].right == one.boxes["cta"].right == one.format.safe.right


def test_blocks_after_one_another_share_their_place():
    texts = [TextBlock("title", "Three facts", 0, 6)]
    texts += [TextBlock("content", f"Fact number {n + 1}", 2 * n, 2 * n + 2) for n in range(3)]
    one = overlay(texts=texts)
    tops = {one.boxes[f"content {n}"].top for n in (1, 2, 3)}
    assert len(tops) == 1


def test_what_cannot_be_read_in_time_or_fitted_is_refused_with_the_way_out():
    with pytest.raises(UsageError, match=r"hook has 75 characters.*2 s.*5\.0 s") as refused:
        overlay(texts=[TextBlock("hook", "a b c " * 12 + "d e", 0, 2)])
    assert "30 characters" in refused.value.hint
    long = "Artificial intelligence changes everything we do. " * 20
    with pytest.raises(UsageError, match=r"about \d\d+ fit") as refused:
        overlay("shorts", [TextBlock("content", long, 0, 100)], seconds=100.0)
    fits = int(refused.value.hint.split()[3])
    overlay("shorts", [TextBlock("content", long[:fits].strip(), 0, 100)], seconds=100.0)
    many = [TextBlock("content", f"{n} " + long[:200], 0, 100) for n in range(9)]
    with pytest.raises(UsageError, match="shown together"):
        overlay("wide", many, seconds=100.0)


def test_a_frame_changes_only_where_words_are_and_only_while_they_are():
    texts = [TextBlock("hook", "Hello there", 2, 4)]
    one = overlay(texts=texts)
    signature, hook = one.boxes["signature"], one.boxes["hook"]
    for index, seen in ((0, False), (47, False), (60, True), (96, False), (143, False)):
        frame = black(one)
        one.draw(frame, index)
        assert frame[hook.top : hook.bottom, hook.left : hook.right].any() == seen, index
        assert frame[signature.top : signature.bottom, signature.left : signature.right].any()
        for box in (signature, hook):
            frame[box.top - 1 : box.bottom + 1, box.left - 1 : box.right + 1] = 0
        assert not frame.any()


def test_words_appear_gently_and_the_last_picture_keeps_them():
    one = overlay(texts=[TextBlock("hook", "Hello there", 1, 6)])
    light = []
    for index in (24, 26, 28, 36, 100, 143):
        frame = black(one)
        one.draw(frame, index)
        light.append(int(frame.sum()))
    assert light[:4] == sorted(light[:4])
    assert light[0] < 0.6 * light[3]
    assert light[3] == light[4] == light[5]


def test_the_words_of_the_first_picture_are_there_at_once_and_rise():
    one = overlay(texts=[TextBlock("hook", "Hello there", 0, 6)], brand=Brand(name="A"))
    first, later = black(one), black(one)
    one.draw(first, 0)
    one.draw(later, 60)
    assert abs(int(first.sum()) - int(later.sum())) < 0.02 * later.sum()
    tops = [
        int(np.argmax(frame[:, : one.format.width // 2].any((1, 2)))) for frame in (first, later)
    ]
    assert 5 < tops[0] - tops[1] <= 20


def test_the_signature_takes_the_other_colour_where_its_corner_calls_for_it():
    one = overlay("shorts", [TextBlock("hook", "Hello there", 0, 6)])
    preview = np.zeros((180, 101, 3), np.uint8)
    preview[110:] = 225  # dark above, bright where the signature is
    one.measure([preview] * 4)
    hook, signature = one.report()["blocks"]
    assert (hook["colour"], signature["colour"]) == ("#FFFFFF", "#0B1020")
    assert signature["scrim"] == 0 and signature["contrast_after"] >= AIM
    preview[110:] = 70
    one.measure([preview] * 4)
    assert {block["colour"] for block in one.report()["blocks"]} == {"#FFFFFF"}
    one.measure([filled_preview(30), filled_preview(220)])  # neither would do: as the words
    assert len({block["colour"] for block in one.report()["blocks"]}) == 1


def filled_preview(value: int) -> np.ndarray:
    return np.full((180, 101, 3), value, np.uint8)


def test_while_moving_words_stay_in_the_safe_area():
    for form in FORMATS:
        one = overlay(form)
        safe = one.format.safe
        for start in (placed.start for placed in one.placed):
            for index in range(start, start + 9, 2):
                frame = black(one)
                one.draw(frame, index)
                frame[safe.top : safe.bottom, safe.left : safe.right] = 0
                assert not frame.any()


def test_no_texts_and_no_brand_draw_nothing():
    story = Storyboard("square", 1.0, (Shot("x", 1.0),))
    one = Overlay(story, None)
    one.measure([np.zeros((135, 135, 3), np.uint8)] * 24)
    frame = black(one)
    one.draw(frame, 3)
    assert not frame.any()
    assert one.boxes == {}


def test_the_wcag_ratio_of_known_colours():
    assert colour_ratio((255, 255, 255), (0, 0, 0)) == pytest.approx(21)
    assert colour_ratio((255, 255, 255), (118, 118, 118)) == pytest.approx(4.54, abs=0.01)
    assert colour_ratio((0, 0, 255), (255, 255, 255)) == pytest.approx(8.59, abs=0.01)


def reached(one: Overlay, placed: Placed, frame: np.ndarray) -> float:
    """The contrast that 95 % of the letters' pixels reach in a frame before its words."""
    without = frame.copy()
    one.draw(frame, placed.end - 1)
    region, coverage, _ = ink(placed, one.format)
    solid = coverage > 250
    part = (slice(region.top, region.bottom), slice(region.left, region.right))
    look = one._look(placed)
    under = without.copy()
    for seen in one.placed:
        if seen.start < placed.end <= seen.end and (scrim := one._painters[seen.name][0]):
            scrim.draw(under)
    empty = coverage == 0
    if not placed.pill and not placed.mark:
        assert (frame[part][empty] == under[part][empty]).all()  # its scrim was drawn
    words = luminance(frame[part][solid].T)
    behind = luminance(under[part][solid].T)
    if placed.pill:
        behind = luminance(np.array([look.accent], np.uint8).T)
    return float(np.percentile(ratio(words, behind), 5))


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize(
    "picture",
    [(0, 0, 0), (255, 255, 255), (128, 128, 128), (120, 110, 255), (255, 200, 0), "soft"],
    ids=str,
)
def test_words_can_be_read_on_every_picture(form, picture):
    texts = [TextBlock(text.role, text.text, 0, 3) for text in ALL]
    one = overlay(form, texts, seconds=3.0)
    size = (one.format.width, one.format.height)
    frame = soft_colours(*size) if picture == "soft" else filled(one, picture)
    small = frame[2::4, 2::4]
    one.measure(small for _ in range(one.storyboard.num_frames))
    for said in one.report()["blocks"]:
        assert said["contrast_after"] >= READABLE + 0.3, said
        assert said["contrast_before"] >= 1
    for placed in one.placed:
        assert reached(one, placed, frame.copy()) >= READABLE, placed.name


def test_dark_words_on_bright_pictures_and_no_scrim_where_none_is_needed():
    for colour, words in ((255, "dark"), (0, "light")):
        one = overlay()
        one.measure(filled(one, colour)[::8, ::8] for _ in range(one.storyboard.num_frames))
        report = one.report()
        assert report["words"] == words
        assert all(said["scrim"] == 0 for said in report["blocks"])


def test_the_scrim_is_no_stronger_than_needed():
    one = overlay()
    one.measure(filled(one, 130)[::8, ::8] for _ in range(one.storyboard.num_frames))
    scrims = {said["name"]: said for said in one.report()["blocks"]}
    assert 0 < scrims["title"]["scrim"] < 0.4
    assert scrims["title"]["contrast_after"] < AIM + 0.25


def test_the_brightest_moment_counts():
    """Dark for most of the time, then white for a sixth of it: more than 5 % of the pixels."""
    one = overlay(texts=[TextBlock("hook", "Hello there", 0, 6)])
    dark, bright = filled(one, 10)[::8, ::8], filled(one, 255)[::8, ::8]
    one.measure(bright if index >= 120 else dark for index in range(144))
    hook = one.report()["blocks"][0]
    assert hook["contrast_before"] < 1.1 or hook["scrim"] > 0
    assert hook["contrast_after"] >= READABLE


def test_one_blocks_scrim_does_not_dim_the_words_of_another():
    one = overlay()
    one.measure(filled(one, 130)[::8, ::8] for _ in range(144))
    frame = filled(one, 130)
    one.draw(frame, 143)
    title = block(one, "title")
    region, coverage, _ = ink(title, one.format)
    part = frame[region.top : region.bottom, region.left : region.right]
    assert (part[coverage == 255] >= 254).all()


def test_a_soft_layer_does_not_band():
    """A slow ramp of alpha over one colour gives more than the bare steps of 8 bits."""
    alpha = np.tile(np.linspace(0, 12, 600), (64, 1))
    layer = Layer(Box(0, 0, 600, 64), np.rint(alpha).astype(np.uint16), np.zeros((64, 1800), int))
    frame = np.full((64, 600, 3), 60, np.uint8)
    Painter(Layer(layer.box, layer.alpha, layer.colour.astype(np.uint16))).draw(frame)
    mean = frame.astype(float).mean(axis=(0, 2))
    steps = np.abs(np.diff(mean.reshape(-1, 50).mean(axis=1)))
    assert steps.max() < 0.5


@pytest.mark.parametrize(("visible", "down"), [(1.0, 0.0), (0.5, 0.0), (1.0, 2.25), (0.4, 3.5)])
def test_laying_over_is_exact(visible, down):
    random = np.random.default_rng(1)
    alpha = random.integers(0, 257, (40, 30))
    colour = random.integers(0, 256, (40, 30, 3)) * alpha[:, :, None]
    layer = Layer(
        Box(5, 3, 35, 43),
        alpha.astype(np.uint16),
        colour.reshape(40, -1).astype(np.uint16),
    )
    frame = random.integers(0, 256, (50, 48, 3), dtype=np.uint8)
    wanted = frame.astype(float)
    for shift, share in ((int(down), 1 - down % 1), (int(down) + 1, down % 1)):
        whole = np.zeros((60, 48, 4))
        whole[3 + shift : 43 + shift, 5:35] = np.dstack([colour / 256, alpha / 256]) * share
        wanted -= (frame.astype(float) * whole[:50, :, 3:] - whole[:50, :, :3]) * visible
    Painter(layer).draw(frame, visible, down)
    assert np.abs(frame - wanted).max() <= 1.6


def test_debug_draws_the_safe_area():
    one = overlay(debug_safe_zones=True)
    frame = black(one)
    one.draw(frame, 100)
    safe = one.format.safe
    assert (frame[safe.top, safe.left : safe.right] == (0, 255, 120)).all()
    assert (frame[safe.top : safe.bottom, safe.right - 1] == (0, 255, 120)).all()


def test_the_same_every_time():
    pictures = []
    for _ in range(2):
        one = overlay()
        one.measure(filled(one, 140)[::8, ::8] for _ in range(144))
        frame = filled(one, 140)
        one.draw(frame, 110)
        pictures.append(frame)
    assert (pictures[0] == pictures[1]).all()


def test_words_alone_are_larger_and_stand_in_the_middle():
    together = overlay("shorts", ALL)
    texts = [TextBlock("content", ALL[1].text, 0, 3), TextBlock("cta", ALL[2].text, 3, 6)]
    alone = overlay("shorts", texts)
    safe = alone.format.safe
    for name in ("content", "cta"):
        assert block(alone, name).size > block(together, name).size
        middle = (alone.boxes[name].top + alone.boxes[name].bottom) / 2
        assert 0.3 < (middle - safe.top) / safe.height < 0.6
