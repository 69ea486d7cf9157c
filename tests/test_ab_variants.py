"""What may be compared: the grammar of variants, the matrix, prompts, and what is refused."""

import json
import shutil
from collections import Counter

import pytest
from checkpoints import build
from hypothesis import given, settings
from hypothesis import strategies as st

from mlx_wan.bench.ab import variants as v
from mlx_wan.bench.ab.experiment import Experiment, Plans, describe, difference
from mlx_wan.bench.ab.prompts import MAX_PROMPTS, Prompt, read_prompts
from mlx_wan.bench.ab.schedule import NAME, Run, schedule
from mlx_wan.convert import convert
from mlx_wan.errors import MlxWanError, ModelError, UsageError
from mlx_wan.home import models_folder

ONE = (Prompt("one", "slow blue aurora", "low"),)


def test_a_variant_is_a_model_or_a_model_with_settings(tmp_path):
    assert v.parse_variant("wan-mini") == v.Spec("wan-mini")
    spec = v.parse_variant("wan-mini:steps=8,solver=euler,guidance_scale=3,shift=2.5,quant=16")
    assert spec.settings == {
        "steps": 8,
        "solver": "euler",
        "guidance_scale": 3.0,
        "shift": 2.5,
        "quant": 16,
    }
    assert spec.label == "wan-mini:steps=8,solver=euler,guidance_scale=3,shift=2.5,quant=16"
    assert v.parse_variant("m:guidance.low_noise=2").settings == {"guidance_scale.low_noise": 2.0}
    odd = tmp_path / "a:steps=4"  # a folder of this very name
    odd.mkdir()
    assert v.parse_variant(str(odd)) == v.Spec(str(odd))
    assert v.parse_variant(f"{odd}:steps=3").settings == {"steps": 3}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("steps=4", "names no model"),
        (":steps=4", "names no model"),
        ("wan-mini:", "no setting"),
        ("wan-mini:steps", "steps"),
        ("wan-mini:steps=", "steps="),
        ("wan-mini:steps=4,,", "''"),
        ("wan-mini:steps=4,steps=5", "twice"),
        ("wan-mini:steps=4.5", "whole number"),
        ("wan-mini:steps=-4", "whole number"),
        ("wan-mini:steps=٤", "whole number"),
        ("wan-mini:stpes=4", "did you mean steps"),
        ("wan-mini:colour=4", "there are: steps"),
        ("wan-mini:steps.low_noise=4", "there are: steps"),
        ("wan-mini:solver=rk4", "unipc, euler"),
        ("wan-mini:guidance=strong", "a number"),
        ("wan-mini:quant=5", "4, 6 or 8 bits"),
        ("wan-mini:cache=easy", "not built yet"),
        ("wan-mini:lora=some.safetensors", "not built yet"),
        ("wan-mini:engine=torch", "not built yet"),
        ("wan-mini:seed=4", "--seeds"),
        ("wan-mini:width=64", "--width"),
        ("wan-mini:quality=best", "auto, high"),
    ],
)
def test_what_is_no_variant_is_refused_with_what_exists(text, told):
    with pytest.raises(UsageError) as refused:
        v.parse_variant(text)
    assert told in str(refused.value)


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="wan-mini:=,.steps48solver euler\t%é", max_size=40))
def test_any_text_is_a_variant_or_refused(text):
    try:
        v.parse_variant(text)
    except UsageError as refused:
        assert refused.hint


def test_the_matrix_is_every_combination():
    cells = v.parse_matrix(["steps=4,20", "solver=unipc,euler"])
    assert len(cells) == 4 and {"steps": 20, "solver": "unipc"} in cells
    built = v.build_variants(["wan-mini", "wan-mini:shift=2"], ["steps=4,20"])
    assert [one.id for one in built] == ["a", "b", "c", "d"]
    assert [one.label for one in built] == [
        *("wan-mini:steps=4", "wan-mini:steps=20"),
        *("wan-mini:shift=2,steps=4", "wan-mini:shift=2,steps=20"),
    ]


@pytest.mark.parametrize(
    ("texts", "matrix", "told"),
    [
        (["wan-mini"], [], "only one variant"),
        (["wan-mini"], ["steps=4"], "only one variant"),
        (["wan-mini:steps=4"], ["steps=4,5"], "in the variant wan-mini:steps=4 and in the matrix"),
        (["wan-mini"], ["steps=4,4"], "twice"),
        (["wan-mini"], ["steps=4,5", "steps=6,7"], "twice"),
        (["wan-mini"], ["steps"], "matrix has 'steps'"),
        (["wan-mini"], ["steps=4,"], "whole number"),
        (["wan-mini"], ["cache=off,easy"], "step caches are not built yet"),
        (["wan-mini"], ["steps=" + ",".join(map(str, range(1, 28)))], "27 variants"),
    ],
)
def test_a_matrix_that_makes_no_sense_is_refused(texts, matrix, told):
    with pytest.raises(UsageError, match=told):
        v.build_variants(texts, matrix)


def test_a_precision_nobody_converted_names_the_command():
    with pytest.raises(ModelError) as refused:
        v.build_variants(["wan-mini", "wan-mini:quant=8"])
    assert "mlx-wan convert SOURCE " in refused.value.hint
    assert refused.value.hint.endswith("/wan-mini-8bit --quantize 8")
    with pytest.raises(ModelError, match="there is no model"):
        v.build_variants(["wan-mini", "wan-maxi"])


def test_another_precision_of_the_same_model_is_found_by_its_name(tiny_models):
    """Other weights may have the same preset: they are not taken for it."""
    folder = models_folder()
    shutil.copytree(tiny_models["t2v"], folder / "mine")
    shutil.copytree(tiny_models["t2v"], folder / "others-8bit")
    build(folder.parent / "original", "wan2.2-t2v-a14b")
    with pytest.raises(ModelError, match="no mine-8bit in 8 bits"):
        v.build_variants(["mine", "mine:quant=8"])
    shutil.copytree(tiny_models["t2v"], folder / "mine-8bit")
    with pytest.raises(ModelError, match="no mine-8bit in 8 bits"):
        v.build_variants(["mine", "mine:quant=8"])  # its name says so, its weights do not
    shutil.rmtree(folder / "mine-8bit")
    convert(folder.parent / "original", folder / "mine-8bit", quantize=8)
    a, _, c = v.build_variants(["mine", "mine-8bit:quant=16"], ["steps=1,2"])[:3]
    assert a.folder.path.name == "mine" and c.folder.path.name == "mine"
    built = v.build_variants(["mine"], ["quant=16,8"])
    assert [one.folder.path.name for one in built] == ["mine", "mine-8bit"]
    assert [v.precision(one.folder) for one in built] == [16, 8]


def test_the_variant_wins_over_what_all_share():
    common = {"steps": 6, "solver": "euler", "guidance_scale": 2.0}
    built = v.build_variants(["wan-mini:steps=3", "wan-mini:guidance.low_noise=5"], (), common)
    plans = Plans(Experiment(tuple(built), ONE, (0,), common=common))
    a, b = plans.base["a", "low"], plans.base["b", "low"]
    assert (a.steps, a.solver, a.experts[1].guidance_scale) == (3, "euler", 2.0)
    assert (b.steps, b.solver) == (6, "euler")
    assert [e.guidance_scale for e in b.experts] == [4.0, 5.0]  # the preset's, and its own


def test_quality_auto_follows_each_prompts_density():
    prompts = tuple(Prompt(d, "calm sea", d) for d in ("high", "medium", "low"))
    built = v.build_variants(["wan-mini", "wan-mini:steps=4"])
    experiment = Experiment(tuple(built), prompts, (0,), common={"quality": "auto"})
    plans = Plans(experiment)
    assert [plans[Run("a", p.id, 0)].steps for p in prompts] == [20, 20, 15]  # no more than its own
    assert [plans[Run("b", p.id, 0)].steps for p in prompts] == [4, 4, 4]
    told = describe(experiment, plans)["plan_differences"]
    assert told["steps"] == [{"high": 20, "medium": 20, "low": 15}, 4]


def test_a_variant_that_cannot_be_planned_is_named():
    built = tuple(v.build_variants(["wan-mini", "wan-mini:guidance.transformer=3"]))
    with pytest.raises(UsageError, match=r"variant wan-mini:guidance_scale\.transformer=3: "):
        Plans(Experiment(built, ONE, (0,)))


def test_the_same_noise_for_the_same_seed():
    built = tuple(v.build_variants(["wan-mini:steps=2", "wan-mini:steps=4,solver=euler"]))
    plans = Plans(Experiment(built, ONE, (7,)))
    from mlx_wan.pipeline import start_noise

    a, b = (start_noise(plans[Run(id, "one", 7)]) for id in "ab")
    assert (a == b).all().item() and a.shape == tuple(plans.base["a", "low"].latent_shape)


def test_built_in_prompts_are_balanced():
    prompts = read_prompts()
    assert len(prompts) >= 24
    assert set(Counter(prompt.density for prompt in prompts).values()) == {len(prompts) // 3}
    for third in range(0, len(prompts), 3):
        assert len({prompt.density for prompt in prompts[third : third + 3]}) == 3
    words = " ".join(prompt.text for prompt in prompts)
    for motif in ("particles", "waves", "rings", "aurora", "gradient", "orbs", "sweep"):
        assert motif in words
    assert len(read_prompts(limit=5)) == 5


def test_prompts_of_a_file(tmp_path):
    text = tmp_path / "prompts.txt"
    text.write_text("# ours\ncalm blue sea at night\n\nRevenue up 18% in 2026\n")
    assert read_prompts(text) == (
        Prompt("p01", "calm blue sea at night", "low"),
        Prompt("p02", "Revenue up 18% in 2026", "high"),
    )
    data = tmp_path / "prompts.json"
    data.write_text(json.dumps([{"id": "x", "text": "sea", "density": "medium"}, "land"]))
    assert [prompt.id for prompt in read_prompts(data)] == ["x", "p02"]


@pytest.mark.parametrize(
    "entries",
    [
        *([], {}, "sea", [3], [None], [[]], [""], ["  "], [{"text": 5}], [{"id": "x"}]),
        *([{"text": "sea", "more": 1}], [{"text": "sea", "id": "../x"}]),
        *([{"text": "sea", "id": "A"}], [{"text": "sea", "id": ""}], [{"text": "sea", "id": 1}]),
        *([{"text": "sea", "density": "none"}], [{"text": "sea", "density": []}]),
        *([{"id": "x", "text": "a"}, {"id": "x", "text": "b"}], ["sea"] * (MAX_PROMPTS + 1)),
        ["x" * 20_001],
    ],
)
def test_prompts_that_are_none_are_refused(entries, tmp_path):
    file = tmp_path / "prompts.json"
    file.write_text(json.dumps(entries))
    with pytest.raises(UsageError):
        read_prompts(file)


def test_every_variant_runs_as_early_as_every_other():
    runs = schedule("abc", [f"p{i}" for i in range(6)], [0, 1], repeats=2, order_seed=3)
    warm, counted = runs[:3], runs[3:]
    assert all(run.warmup for run in warm) and not any(run.warmup for run in counted)
    assert {run.variant for run in warm} == set("abc")
    assert len(set(counted)) == len(counted) == 3 * 6 * 2 * 2
    for start in range(0, len(counted), 6):
        two = [run.variant for run in counted[start : start + 6]]
        assert two[3:] == two[:3][::-1], "ABBA"
    places = {id: [i for i, run in enumerate(counted) if run.variant == id] for id in "abc"}
    assert len({sum(places[id]) for id in "abc"}) == 1
    assert schedule("abc", ["p"], [0], order_seed=3) == schedule("abc", ["p"], [0], order_seed=3)
    firsts = {schedule("ab", ["p"], [0], order_seed=seed)[2].variant for seed in range(20)}
    assert firsts == {"a", "b"}, "the order is drawn"


def test_run_names_are_folder_names():
    for run in schedule("ab", ["p01", "x_y"], [0, 2**63 - 1], repeats=2):
        assert NAME.fullmatch(run.name)
    assert Run("a", "p", 0, 0).name != Run("a", "p", 0, 1).name != Run("a", "p", 0, 2).name


def test_another_experiment_is_told_by_its_difference():
    def told(texts, **changes):
        built = tuple(v.build_variants(texts))
        experiment = Experiment(built, **({"prompts": ONE, "seeds": (0,)} | changes))
        return json.loads(json.dumps(describe(experiment, Plans(experiment))))

    here = told(["wan-mini:steps=2", "wan-mini:steps=4"])
    assert difference(here, here) is None
    assert difference(here | {"commit": "x", "created": "y"}, here) is None
    other = told(["wan-mini:steps=2", "wan-mini:steps=5"])
    assert "variants.b.label" in difference(here, other)
    assert "seeds" in difference(here, told(["wan-mini:steps=2", "wan-mini:steps=4"], seeds=(1,)))
    moved = json.loads(json.dumps(here))
    moved["variants"]["a"]["model_path"] = "/elsewhere"
    assert difference(here, moved) is None
    moved["variants"]["a"]["fingerprint"] = "0"
    assert "variants.a.fingerprint" in difference(here, moved)
    chip = here | {"machine": here["machine"] | {"chip": "Apple M9"}}
    assert "machine.chip" in difference(chip, here)


@pytest.mark.parametrize("seeds", [(), (0, 0), (-1,), (2**63,), tuple(range(101)), (True,)])
def test_seeds_that_are_none_are_refused(seeds):
    built = tuple(v.build_variants(["wan-mini", "wan-mini"]))  # A/A is fine
    with pytest.raises(MlxWanError):
        Experiment(built, ONE, seeds)
