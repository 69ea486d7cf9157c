"""The conformance matrix on one short cell; what it looks for, it finds."""

from dataclasses import replace

import pytest

from mlx_wan.bench.conformance import DURATIONS, check, decoded, storyboard
from mlx_wan.studio.brand import Brand
from mlx_wan.studio.formats import FORMATS
from mlx_wan.studio.produce import make_production, produce
from mlx_wan.studio.profiles import PROFILES, Choice

STEPS = {"steps": 2}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    home = tmp_path_factory.mktemp("conformance")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLX_WAN_HOME", str(home))
        production = make_production(
            storyboard("square", 1.0),
            choice=Choice(PROFILES["low"], "a test"),
            model="wan-mini",
            seed=7,
            brand=Brand(),
            settings=STEPS,
            output=str(home / "a.mp4"),
        )
        return production, produce(production)


def test_a_short_square_conforms(made):
    problems, contrast, match = check(*made)
    assert problems == [] and contrast >= 4.5 and match >= 0.9
    assert sum(1 for _ in decoded(made[1].video)) == 24


def test_what_is_wrong_is_found(made):
    production, finished = made
    board = production.storyboard
    longer = replace(production, storyboard=storyboard("square", 1.5))
    assert "24, 24" in check(longer, finished)[0][0]
    blocks = finished.record["overlay"]["blocks"]
    moved = [block | {"box": block["box"] | {"top": 10}} for block in blocks]
    outside = replace(finished, record={"overlay": {"blocks": moved}})
    assert any("outside the safe area" in problem for problem in check(production, outside)[0])
    unsigned = replace(finished, record={"overlay": {"blocks": blocks[:-1]}})
    assert check(production, unsigned)[0] == ["there are title", "the signature matches by 0.00"]
    other = replace(production, brand=Brand(name="Somebody Else"))
    assert any("signature" in problem for problem in check(other, finished)[0])
    assert board.format is FORMATS["square"]


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("duration", DURATIONS)
def test_every_cell_can_be_planned(form, duration):
    production = make_production(
        storyboard(form, duration),
        choice=Choice(PROFILES["high"], "a test"),
        model="wan-mini",
        brand=Brand(),
        output="/nowhere/a.mp4",
    )
    assert production.storyboard.num_frames == round(duration * FORMATS[form].fps)
    assert sum(shot.duration for shot in production.storyboard.shots) == pytest.approx(duration)
