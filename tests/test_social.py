"""linkedin, youtube and the Python face: what is planned for what is said; nothing is rendered."""

import json
from types import SimpleNamespace

import pytest

import mlx_wan
from mlx_wan import QualityProfile, VideoConfig, VideoFormat, Wan22Generator
from mlx_wan.api import BatchError
from mlx_wan.cli.main import run
from mlx_wan.errors import GenerationError, UsageError
from mlx_wan.studio import produce as studio
from mlx_wan.studio.storyboard_file import load_storyboard, storyboard_schema

TOPIC = "AI Workforce Transformation 2026"
SHORT = ["--hook", "The AI skills premium is real"]
SHORT += ["--content", "AI-skilled workers earn 56% more in 2026", "--cta", "Connect with us"]


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """An empty working folder and home: wan-mini is the model."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLX_WAN_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("MLX_WAN_LLM", raising=False)
    return tmp_path


def planned(capsys, *words: str) -> dict:
    assert run([*words, "--dry-run", "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def board_of(capsys, *words: str) -> dict:
    assert run([*words, "--print-storyboard", "--json"]) == 0
    return json.loads(capsys.readouterr().out)["storyboard"]


def fails(capsys, *words: str) -> str:
    assert run(list(words)) == 2
    out, err = capsys.readouterr()
    assert not out and err.startswith("error: ") and len(err.splitlines()) <= 2, err
    return err


def test_linkedin_plans_what_the_document_says(capsys):
    plan = planned(capsys, "linkedin", TOPIC, "--duration", "10", "--quality", "high")
    board = plan["storyboard"]
    assert (board["format"], board["duration"], board["title"]) == ("square", 10, TOPIC)
    assert board["name"] == "linkedin_2026_ai_workforce_transformation_10s"
    assert plan["production"]["profile"]["name"] == "high"
    assert plan["production"]["brand"]["name"] == "Arthur Dell"
    assert all(one["model"] == "wan-mini" for one in plan["plans"])


def test_the_message_decides_the_quality_and_the_reason_is_kept(capsys):
    for words, name, reason in (
        (["linkedin", TOPIC], "medium", "a simple message"),
        (["linkedin", "Workers earn 56% more"], "high", "56%"),
        (["linkedin", "calm ocean waves at sunset"], "low", "scenery"),
        (["linkedin", "calm ocean waves", "--quality", "high"], "high", "asked"),
        (["youtube", *SHORT], "high", "56%"),
        (["youtube", *SHORT, "--quality", "medium"], "medium", "asked"),
    ):
        made = planned(capsys, *words)["production"]
        assert made["profile"]["name"] == name and reason in made["reason"], words


def test_flags_reach_the_production(capsys, here):
    (here / "brand.toml").write_text('name = "Acme"\n')
    words = ["linkedin", TOPIC, "--format", "wide", "--seed", "7", "--steps", "3"]
    words += ["--brand", "brand.toml", "--interpolate", "off", "--debug-safe-zones"]
    plan = planned(capsys, *words, "--negative-prompt", "blurry", "--guidance-scale", "2")
    made = plan["production"]
    assert (made["seed"], made["interpolate"], made["debug_safe_zones"]) == (7, "off", True)
    assert made["brand"]["name"] == "Acme" and plan["storyboard"]["format"] == "wide"
    for one in plan["plans"]:
        assert one["steps"] == 3 and one["negative_prompt"] == "blurry"
        assert {expert["guidance_scale"] for expert in one["experts"]} == {2.0}
    assert planned(capsys, "linkedin", TOPIC, "--no-brand")["production"]["brand"] is None


def test_a_printed_storyboard_makes_the_same_again(capsys, here):
    for words in (["linkedin", TOPIC, "--duration", "12.5"], ["youtube", *SHORT]):
        assert run([*words, "--print-storyboard"]) == 0
        (here / "board.yaml").write_text(capsys.readouterr().out)
        assert load_storyboard("board.yaml").to_dict() == board_of(capsys, *words)
        again = planned(capsys, words[0], "--storyboard", "board.yaml", "--seed", "1")
        direct = planned(capsys, *words)
        assert again["storyboard"] == direct["storyboard"]
        profiles = [one["production"]["profile"] for one in (again, direct)]
        assert profiles[0] == profiles[1]  # its texts decide, as they did


def test_nothing_but_data_is_on_stdout(capsys):
    assert run(["youtube", *SHORT, "--storyboard-schema"]) == 0
    assert json.loads(capsys.readouterr().out) == storyboard_schema()
    assert run(["linkedin", "--storyboard-schema"]) == 0
    assert json.loads(capsys.readouterr().out) == storyboard_schema()


def test_a_seed_makes_other_pictures_and_the_same_again(capsys):
    boards = [board_of(capsys, "linkedin", TOPIC, "--seed", seed) for seed in "1213"]
    assert boards[0] == boards[2]
    assert any(board["shots"] != boards[0]["shots"] for board in boards)


def test_a_real_model_is_asked_for_scenes(capsys, tiny_models):
    for kind in ("t2v", "ti2v"):
        board = board_of(capsys, "linkedin", TOPIC, "--model", tiny_models[kind])
        assert len(board["shots"]) == 3 and "cinematic" in board["shots"][0]["prompt"]


MISUSED = {
    "no topic": ["linkedin"],
    "topic is empty": ["linkedin", " "],
    "square or wide": ["linkedin", TOPIC, "--format", "shorts"],
    "duration is 0.5": ["linkedin", TOPIC, "--duration", "0.5"],
    "duration is 601": ["linkedin", TOPIC, "--duration", "601"],
    "duration is nan": ["linkedin", TOPIC, "--duration", "nan"],
    "reading title takes 2.2 s": ["linkedin", TOPIC, "--duration", "1"],
    "quality is 'best'": ["linkedin", TOPIC, "--quality", "best"],
    "no step-distilled weights": ["linkedin", TOPIC, "--fast"],
    "--brand and --no-brand": ["linkedin", TOPIC, "--brand", "b.toml", "--no-brand"],
    "text only": ["linkedin", TOPIC, "--image", "fox.png"],
    "interpolate is": ["linkedin", TOPIC, "--interpolate", "magic"],
    "steps is 0": ["linkedin", TOPIC, "--steps", "0"],
    "nothing to say": ["youtube"],
    "cta is empty": ["youtube", "--hook", "a", "--cta", ""],
    "reading hook, content and cta takes": ["youtube", *SHORT, "--duration", "2"],
    "No such option: --music": ["youtube", *SHORT, "--music", "a.mp3"],
    "missing.yaml does not exist": ["linkedin", "--storyboard", "missing.yaml"],
    "duration were both given": ["linkedin", "--storyboard", "b.yaml", "--duration", "3"],
    "expand were both given": ["youtube", "--storyboard", "b.yaml", "--expand"],
    "in the format wide": ["youtube", "--storyboard", "b.yaml"],
}


@pytest.mark.parametrize("told", MISUSED)
def test_misuse_is_one_line_and_exit_2(told, capsys, here):
    board = "format: wide\nduration: 3\nshots: [{prompt: blue waves, duration: 3}]\n"
    (here / "b.yaml").write_text(board)
    before = sorted(here.rglob("*"))
    assert told in fails(capsys, *MISUSED[told])
    assert sorted(here.rglob("*")) == before


def test_a_storyboard_without_words_is_judged_by_its_pictures(capsys, here):
    for prompt, level in (("calm blue waves, loop", "low"), ("a horse gallops", "medium")):
        board = f"format: wide\nduration: 3\nshots: [{{prompt: '{prompt}', duration: 3}}]\n"
        (here / "b.yaml").write_text(board)
        made = planned(capsys, "linkedin", "--storyboard", "b.yaml")["production"]
        assert made["profile"]["name"] == level


@pytest.fixture
def made(monkeypatch):
    """Productions that were asked for; a title with "broken" fails."""
    productions = []

    def produce(production, *_, **__):
        productions.append(production)
        if "broken" in production.storyboard.title:
            raise GenerationError("it came out black")
        return SimpleNamespace(video=studio.output_path(production))

    monkeypatch.setattr(studio, "produce", produce)
    return productions


def test_the_python_face_is_the_documents(made):
    generator = Wan22Generator()
    path = generator.generate_linkedin_video(
        topic=TOPIC, duration=10, format_type="square", message_density="high"
    )
    assert path.name == "linkedin_2026_ai_workforce_transformation_10s.mp4"
    short = generator.generate_youtube_short(
        hook="The AI skills premium is real",
        content="AI-skilled workers earn 56% more in 2026",
        cta="Connect with Arthur Dell",
        duration=30,
        message_density="medium",
    )
    assert short.name == "youtube_short_30s.mp4"
    assert [one.profile.name for one in made] == ["high", "medium"]
    assert [one.brand.name for one in made] == ["Arthur Dell"] * 2


def test_the_face_and_the_commands_plan_the_same(made, capsys):
    Wan22Generator(seed=7).generate_linkedin_video(TOPIC, 10, "wide")
    plan = planned(capsys, "linkedin", TOPIC, "--format", "wide", "--seed", "7")
    recorded = made[0].recorded()
    assert recorded["storyboard"] == plan["storyboard"]
    assert recorded["production"] == plan["production"]
    prompts = [one["prompt"] for one in plan["plans"]]
    assert [one["prompt"] for one in recorded["plans"]] == prompts


def test_a_config_decides_everything(made, here):
    generator = Wan22Generator()
    generator.generate(
        VideoConfig(
            prompt="AI adoption statistics",
            duration=8,
            format=VideoFormat.LINKEDIN_SQUARE,
            quality_profile=QualityProfile.HIGH_DENSITY,
            has_text_overlay=True,
            branding="Arthur Dell",
            output_filename="adoption.mp4",
        )
    )
    generator.generate(VideoConfig("slow blue waves", 5, VideoFormat.YOUTUBE_SHORTS, branding=None))
    path = generator.generate(VideoConfig("a", 5, "wide", output_filename=str(here / "b.mp4")))
    first, second, third = made
    assert [text.text for text in first.storyboard.texts] == ["AI adoption statistics"]
    assert first.profile.name == "high" and first.stem == "adoption" and first.output is None
    assert second.storyboard.texts == () and second.brand is None
    assert second.storyboard.shots[0].prompt == "slow blue waves"  # as it was given
    assert second.storyboard.format.name == "shorts" and second.profile.name == "low"
    assert third.storyboard.format.name == "wide" and path == here / "b.mp4"


def test_text_over_the_picture_takes_the_most(made):
    Wan22Generator().generate(VideoConfig("A calm lake", has_text_overlay=True))
    assert made[0].profile.name == "high" and "text" in made[0].reason


def test_who_signs(made, here):
    home = here / "home"
    home.mkdir()
    (home / "brand.toml").write_text('name = "Acme"\nposition = "bottom-left"\n')
    (here / "other.toml").write_text('name = "Other"\n')
    names = []
    for branding in ({}, {"branding": "Jo"}, {"branding": "other.toml"}, {"branding": None}):
        Wan22Generator().generate(VideoConfig("blue waves", **branding))
        names.append(made[-1].brand and (made[-1].brand.name, made[-1].brand.position))
    assert names == [
        ("Acme", "bottom-left"),
        ("Jo", "bottom-left"),
        ("Other", "bottom-right"),
        None,
    ]


def test_a_batch_goes_on_after_a_failure_and_tells_of_it(made):
    configs = [VideoConfig(name, has_text_overlay=True) for name in ("one", "broken", "three")]
    with pytest.raises(BatchError) as error:
        Wan22Generator().batch_generate(configs)
    names = [path and path.name for path in error.value.paths]
    assert names == ["one.mp4", None, "three.mp4"]
    assert list(error.value.errors) == [1] and "number 2: it came out black" in str(error.value)
    paths = Wan22Generator().batch_generate([configs[0], configs[2]])
    assert [path.name for path in paths] == ["one.mp4", "three.mp4"]
    assert Wan22Generator().batch_generate([]) == []


def test_a_batch_is_checked_before_its_first_video(made, here):
    same = VideoConfig("waves", output_filename=str(here / "a.mp4"))
    taken = VideoConfig("waves", output_filename=str(here / "taken.mp4"))
    (here / "taken.mp4").write_text("mine")
    for wrong, told in (
        ([VideoConfig("waves", duration=0)], "video 2: duration is 0"),
        (["waves"], "video 2: str is no VideoConfig"),
        ([same], "video 2: output_filename"),
        ([taken], f"video 2: {here / 'taken.mp4'} exists already"),
    ):
        with pytest.raises(UsageError) as error:
            Wan22Generator().batch_generate([same, *wrong])
        assert told in str(error.value)
    assert made == []


FACE_MISUSED = {
    "duration is '10'": lambda: VideoConfig("waves", duration="10"),
    "format is 'tall'": lambda: VideoConfig("waves", format="tall"),
    "format is 3": lambda: VideoConfig("waves", format=3),
    "quality is 'best'": lambda: VideoConfig("waves", quality_profile="best"),
    "quality is 3": lambda: VideoConfig("waves", quality_profile=3),
    "prompt is 7": lambda: VideoConfig(7),
    "prompt is empty": lambda: VideoConfig(""),
    "branding is 5": lambda: VideoConfig("waves", branding=5),
    "output_filename is 'a.avi'": lambda: VideoConfig("waves", output_filename="a.avi"),
    "output_filename is ''": lambda: VideoConfig("waves", output_filename=""),
}


@pytest.mark.parametrize("told", FACE_MISUSED)
def test_misuse_of_the_face_is_told(told, made):
    with pytest.raises(UsageError) as error:
        Wan22Generator().generate(FACE_MISUSED[told]())
    assert told in str(error.value)
    assert made == []


def test_the_names_come_from_the_package_and_cost_nothing():
    import subprocess
    import sys

    script = "import sys, mlx_wan; assert 'mlx.core' not in sys.modules; print(mlx_wan.__all__)"
    told = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    for name in ("Wan22Generator", "VideoConfig", "VideoFormat", "QualityProfile"):
        assert name in told.stdout and getattr(mlx_wan, name).__module__.startswith("mlx_wan")
