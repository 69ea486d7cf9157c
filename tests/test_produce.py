"""A whole video with the built-in model in a small format: made, killed, made again."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import av
import numpy as np
import pytest

from mlx_wan import library
from mlx_wan.cli.main import run
from mlx_wan.errors import GenerationError, MemoryPlanError, MlxWanError, UsageError
from mlx_wan.record import RECORD_FORMAT, RECORD_VERSION
from mlx_wan.studio import produce as studio
from mlx_wan.studio.brand import Brand
from mlx_wan.studio.formats import FORMATS, Box, Format
from mlx_wan.studio.profiles import PROFILES, Choice
from mlx_wan.studio.storyboard import Shot, Storyboard, TextBlock
from mlx_wan.studio.work import unfinished_seed, work_folder

TINY = Format("tiny", "Tiny", 320, 320, 12, Box(16, 16, 304, 288))
QUICK = {"model": "wan-mini", "settings": {"steps": 2}, "choice": Choice(PROFILES["low"], "a test")}


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch) -> Path:
    """A tiny format, and nothing of this machine's."""
    monkeypatch.setitem(FORMATS, "tiny", TINY)
    monkeypatch.setenv("MLX_WAN_HOME", str(tmp_path / "home"))
    return tmp_path


def board(*prompts: str, duration: float = 1.0, texts=()) -> Storyboard:
    shots = tuple(Shot(prompt, duration) for prompt in prompts)
    return Storyboard("tiny", duration * len(shots), shots, texts, title="Waves for everyone")


def frames_of(path: Path) -> np.ndarray:
    with av.open(str(path)) as container:
        return np.stack([f.to_ndarray(format="rgb24") for f in container.decode(video=0)])


@pytest.fixture
def finished():
    words = (TextBlock("title", "Hello", 0, 2),)
    production = studio.make_production(
        board("blue waves", "red rings", texts=words), seed=4, brand=Brand(), **QUICK
    )
    return studio.produce(production)


def test_a_storyboard_becomes_a_finished_video_in_the_library(finished):
    assert finished.video == library.stage_folder("processed") / "waves_for_everyone.mp4"
    frames = frames_of(finished.video)
    assert frames.shape == (24, 320, 320, 3)
    entry = library.find(finished.id)
    assert (entry.video, entry.title, entry.duration) == (finished.video, "Waves for everyone", 2)
    assert "red rings" in entry.prompts and "Hello" in entry.texts
    from PIL import Image

    assert Image.open(finished.poster).size == (320, 320)
    kept = [path.name for path in finished.video.parent.iterdir()]
    assert sorted(kept) == [f"waves_for_everyone.{end}" for end in ("json", "mp4", "png")]
    signature = finished.record["overlay"]["blocks"][-1]["box"]
    assert signature["right"] <= TINY.safe.right and signature["bottom"] <= TINY.safe.bottom


def test_the_file_says_that_it_is_ai_generated(finished):
    with av.open(str(finished.video)) as container:
        tags = container.metadata
    assert tags["ai_generated"] == "true" and "AI-generated" in tags["comment"]
    assert tags["digitalSourceType"].endswith("/trainedAlgorithmicMedia")


def test_the_record_makes_the_same_video(finished, capsys):
    assert run(["generate", "--from-record", finished.id, "--json"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert Path(again["path"]).name == "waves_for_everyone_2.mp4"
    one, two = finished.record, again["record"]
    assert two["sha256"]["frames"] == one["sha256"]["frames"]
    assert two["clips"] == one["clips"] and two["overlay"] == one["overlay"]
    assert (two["storyboard"], two["production"]) == (one["storyboard"], one["production"])


def test_a_changed_record_is_refused(finished):
    good = finished.record
    wrong = [
        {"plans": good["plans"][:1]},
        {"plans": "all"},
        {"storyboard": {}},
        {"production": {}},
        {"production": good["production"] | {"first_frames": [[None], ["somewhere"]]}},
        {"production": good["production"] | {"brand": {"name": 3}}},
        {"production": good["production"] | {"stretch": -1}},
        {"production": good["production"] | {"stretch": "fast"}},
        {"production": good["production"] | {"interpolate": "some"}},
        {"production": good["production"] | {"profile": {"name": "high"}}},
        {"production": good["production"] | {"stem": "../../etc"}, "plans": []},
    ]
    for changes in wrong:
        with pytest.raises(UsageError):
            studio.recorded_production(good | changes)
    moved = good | {"production": good["production"] | {"stem": "../../x"}}
    assert studio.output_path(studio.recorded_production(moved)).parent.name == "processed"


def test_a_name_of_ones_own_is_not_put_into_the_library(home):
    output = home / "mine.mp4"
    made = {"seed": 4, "output": str(output), **QUICK}
    production = studio.make_production(board("blue waves"), **made)
    finished = studio.produce(production)
    assert finished.video == output and finished.id is None
    assert sorted(p.suffix for p in home.glob("mine.*")) == [".json", ".mp4", ".png"]
    with pytest.raises(UsageError, match="exists already"):
        studio.output_path(studio.make_production(board("blue waves"), **made))
    assert frames_of(output).shape[0] == 12


def test_the_next_one_takes_about_as_long(finished, home):
    from mlx_wan.studio.forecast import forecast

    longer = board("blue waves", "red rings", duration=20)
    seconds = forecast(studio.make_production(longer, **QUICK))
    spent = finished.record["seconds"]
    rendering = sum(spent[stage] for stage in ("encode", "denoise", "decode"))
    delivering = sum(spent[stage] for stage in ("contrast", "video", "poster"))
    assert seconds == pytest.approx(rendering + 20 * delivering, rel=1e-3)
    (home / "home" / "measured.json").write_text('{"render wan-mini cpu": "soon"}')
    assert forecast(studio.make_production(longer, **QUICK)) is None


def test_the_work_goes_when_the_video_is_done(finished, home):
    assert list((home / "home" / "work").iterdir()) == []


def test_a_killed_video_goes_on_with_its_seed_and_its_clips(home):
    script = f"""
import sys
from mlx_wan.studio import produce as studio
from mlx_wan.studio.formats import FORMATS, Box, Format
from mlx_wan.studio.profiles import PROFILES, Choice
from mlx_wan.studio.storyboard import Shot, Storyboard
FORMATS["tiny"] = {TINY!r}
board = Storyboard("tiny", 2, (Shot("blue waves", 1), Shot("red rings", 1)), title="Waves")
choice = Choice(PROFILES["low"], "a test")
made = studio.make_production(board, model="wan-mini", settings={{"steps": 2}}, choice=choice)
def tell(event):
    if event.stage == "denoise" and "shot 2" in event.detail:
        print(made.seed, flush=True)
        sys.stdin.read()
studio.produce(made, tell)
"""
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    seed = int(process.stdout.readline())
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert list(library.stage_folder("processed").glob("*")) == []
    production = studio.make_production(
        Storyboard("tiny", 2, (Shot("blue waves", 1), Shot("red rings", 1)), title="Another title"),
        **QUICK,
    )
    assert production.seed == seed and "unfinished" in production.notes[-1]
    work = work_folder(production.key, seed)
    before = {path.name: path.stat().st_mtime_ns for path in work.glob("*.mkv")}
    assert len(before) == 1
    seen: list = []

    def tell(event):
        seen.append(event)
        for name, written in before.items():
            if work.exists():
                assert (work / name).stat().st_mtime_ns == written

    studio.produce(production, tell)
    assert not any("shot 1" in event.detail for event in seen)
    assert unfinished_seed(production.key) is None


def test_a_rejected_seed_is_not_tried_again_unasked(monkeypatch):
    import mlx_wan.studio.produce as module

    def black(*_):
        raise GenerationError("shot 1 came out black")

    production = studio.make_production(board("blue waves"), **QUICK)
    monkeypatch.setattr(module, "render_shots", black)
    with pytest.raises(GenerationError):
        studio.produce(production)
    assert work_folder(production.key, production.seed).exists()
    assert unfinished_seed(production.key) is None


def test_the_same_video_is_not_made_twice_at_once(monkeypatch):
    from mlx_wan.studio.work import working_in

    production = studio.make_production(board("blue waves"), seed=1, **QUICK)
    with (
        working_in(work_folder(production.key, 1)),
        pytest.raises(MlxWanError, match="another process"),
    ):
        studio.produce(production)


def test_a_full_disk_is_told_before_the_work(monkeypatch):
    import shutil

    production = studio.make_production(board("blue waves"), seed=1, **QUICK)
    full = shutil.disk_usage("/")._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: full)
    with pytest.raises(MlxWanError, match="free"):
        studio.produce(production)


def test_nothing_is_left_when_encoding_fails(home, monkeypatch):
    import mlx_wan.studio.produce as module

    def broken(frames, *_, **__):
        next(iter(frames))
        raise MlxWanError("no space left")

    monkeypatch.setattr(module, "save_video", broken)
    production = studio.make_production(board("blue waves"), seed=1, **QUICK)
    with pytest.raises(MlxWanError, match="no space"):
        studio.produce(production)
    assert [p for p in library.library_root().rglob("*") if p.is_file()] == []
    assert unfinished_seed(production.key) == 1  # the clips are kept


def test_interrupted_it_exits_130_and_keeps_the_work(monkeypatch, capsys):
    import mlx_wan.studio.produce as module

    def interrupted(frames, unchecked, **_):
        unchecked.parent.mkdir(parents=True)
        unchecked.write_bytes(b"half a video")
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "save_video", interrupted)
    words = ["generate", "blue waves", "--format", "tiny", "--duration", "1", "--seed", "1"]
    assert run([*words, "--steps", "2"]) == 130
    assert "goes on where it stopped" in capsys.readouterr().err
    assert [p for p in library.library_root().rglob("*") if p.is_file()] == []
    assert len(list((Path(os.environ["MLX_WAN_HOME"]) / "work").glob("*/*.mkv"))) == 1


def test_what_a_killed_process_left_is_removed(home):
    from mlx_wan.outputs import unchecked_file

    video = home / "a.b.mp4"
    own = unchecked_file(video)
    mine, ours = home / f".a.b.{os.getpid()}.unchecked.mp4", home / ".a.b.1.unchecked.mp4"
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    left = home / f".a.b.{dead.pid}.unchecked.mp4"
    partial = home / f"..a.b.{dead.pid}.unchecked.mp4.{dead.pid}.partial"
    other = home / f".a.{dead.pid}.unchecked.mp4"
    for file in (mine, ours, left, partial, other):
        file.touch()
    assert unchecked_file(video) == own == mine
    kept = sorted(path.name for path in home.iterdir() if path.is_file())
    assert kept == sorted(path.name for path in (mine, ours, other))


def test_too_little_memory_names_what_helps():
    with pytest.raises(MemoryPlanError, match="--quality low"):
        studio.make_production(board("blue waves"), memory_limit=1000, **QUICK)


def test_a_first_frame_of_another_shape_is_told(tiny_models, tmp_path):
    from PIL import Image

    Image.new("RGB", (400, 100), (200, 80, 40)).save(tmp_path / "long.png")
    shot = Shot("a fox", 1.0, image=str(tmp_path / "long.png"))
    made = studio.make_production(
        Storyboard("square", 1.0, (shot,)), model=tiny_models["ti2v"], choice=QUICK["choice"]
    )
    assert any(note.startswith("75% of") for note in made.notes), made.notes
    assert made.shots[0][0].first_frame == "image"


def test_text_that_does_not_fit_is_refused_when_planning():
    words = (TextBlock("title", "word " * 300, 0, 1),)
    with pytest.raises(UsageError):
        studio.make_production(board("blue waves", texts=words), **QUICK)


def test_generate_with_wan_mini_is_a_finished_wide_video(capsys):
    assert run(["generate", "slow blue aurora", "--dry-run", "--json"]) == 0
    planned = json.loads(capsys.readouterr().out)
    assert planned["storyboard"]["format"] == "wide" and planned["storyboard"]["duration"] == 6
    assert planned["production"]["brand"]["name"] == "Arthur Dell"
    words = ["generate", "slow blue aurora", "--width", "64", "--height", "64", "--dry-run"]
    assert run([*words, "--json"]) == 0
    assert "plan" in json.loads(capsys.readouterr().out)  # frames as rendered


def test_a_model_stays_loaded_between_videos(monkeypatch):
    import mlx_wan.pipeline as pipeline

    loaded: list = []
    load = pipeline.load_network
    monkeypatch.setattr(
        pipeline, "load_network", lambda part: (loaded.append(part.name), load(part))[1]
    )
    networks = pipeline.Networks()
    for prompt in ("blue waves", "red rings"):
        production = studio.make_production(board(prompt), seed=1, **QUICK)
        studio.produce(production, networks=networks)
    assert sorted(loaded) == ["high_noise", "low_noise", "vae"]


def test_nothing_stays_loaded_where_it_has_no_room(monkeypatch):
    from dataclasses import replace

    import mlx_wan.pipeline as pipeline
    from mlx_wan.loading import find_model, open_model

    plan = studio.make_production(board("blue waves"), **QUICK).plans[0]
    folder = open_model(find_model("wan-mini"))
    tight = replace(plan, memory=replace(plan.memory, available=plan.memory.peak))
    networks = pipeline.Networks()
    monkeypatch.setattr(pipeline, "load_network", lambda part: object())
    networks.begin(plan, folder)
    assert networks.load(folder["vae"]) is networks.load(folder["vae"])
    networks.begin(tight, folder)
    assert networks.load(folder["vae"]) is not networks.load(folder["vae"])


def test_old_work_is_thrown_away(home):
    from mlx_wan.studio.work import working_in

    old, rejected, new, own = (work_folder(key, 1) for key in "abcd")
    for folder in (old, rejected, new, own):
        folder.mkdir(parents=True)
        (folder / "lock").touch()
    (rejected / "rejected").touch()
    month = time.time() - 31 * 86400
    for folder in (old, rejected, own):
        os.utime(folder, (month, month))
    with working_in(own):
        assert not old.exists() and not rejected.exists()
        assert new.exists() and own.exists()  # somebody came back for its own


def _setting(name: str, value):
    return lambda record: record["production"].update({name: value})


def _profile(name: str, value):
    return lambda record: record["production"]["profile"].update({name: value})


@pytest.mark.parametrize(
    "damage",
    [
        _setting("seed", float("inf")),
        _setting("seed", -5),
        _setting("stretch", 10**400),
        _setting("stretch", float("nan")),
        _setting("brand", {"font": 5}),
        _setting("first_frames", [["previous"]]),
        _setting("first_frames", [[], []]),
        _profile("crf", "x"),
        _profile("crf", -7),
        _profile("preset", "evil"),
        _profile("name", 5),
        lambda record: record.update(production=5),
        lambda record: record.update(plans=[5]),
        lambda record: record.update(plans=[]),
    ],
)
def test_a_damaged_record_is_refused_before_the_work(damage):
    production = studio.make_production(board("blue waves"), seed=1, **QUICK)
    record = {"format": RECORD_FORMAT, "version": RECORD_VERSION} | production.recorded()
    record = json.loads(json.dumps(record))
    assert studio.recorded_production(record).key == production.key
    damage(record)
    with pytest.raises(UsageError):
        studio.recorded_production(record)
