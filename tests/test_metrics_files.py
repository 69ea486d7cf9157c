"""Video files measured: against a reference, with text, and files that are no videos."""

import importlib
import json
import sys
import tracemalloc

import numpy as np
import pytest
from metrics_videos import SIDE, noise, rising, samples, scene

from mlx_wan.bench.metrics import (
    METRICS,
    clip_score,
    gates,
    measure,
    measure_and_gate,
    not_run,
    vbench,
    vbench_scores,
)
from mlx_wan.bench.metrics.frames import frames_of, read_frames
from mlx_wan.bench.metrics.legibility import legibility
from mlx_wan.bench.metrics.reference import Against, latent_cosine, ssim
from mlx_wan.errors import BadFileError, GenerationError, UsageError
from mlx_wan.studio.formats import Box
from mlx_wan.studio.video_io import save_video

measure_module = importlib.import_module("mlx_wan.bench.metrics.measure")  # hidden by a name


def saved(path, video, crf=10):
    return save_video([samples(video)], path, fps=16, crf=crf, preset="veryfast")


def against(video, other):
    figures = Against()
    for one, two in zip(frames_of(samples(video)), frames_of(samples(other)), strict=True):
        figures.see(one, two)
    return figures.figures()


def test_every_metric_is_documented_and_measured(tmp_path):
    video = saved(tmp_path / "a.mp4", scene(2))
    values = measure(video, prompt="spots", loops=True)
    assert set(values) == {name for name, metric in METRICS.items() if metric.kind != "gate"}
    for name, metric in METRICS.items():
        assert metric.name == name and metric.formula and metric.source
        assert metric.kind != "quality" or metric.better != "none"
    needs_more = {"psnr", "ssim", "latent_cosine", "text_contrast", "text_edges_kept"}
    told = {name for name, value in values.items() if value is not None}
    assert told == set(values) - needs_more - set(not_run())
    assert measure(video, prompt="spots")["loop_closure"] is None
    assert set(gates(video, loops=True)) == {n for n, m in METRICS.items() if m.kind == "gate"}


def test_psnr_and_ssim_fall_with_the_difference():
    video = scene(2, count=3)
    others = [video + noise(sigma, video.shape) for sigma in (0, 1, 4, 16)]
    for name in ("psnr", "ssim"):
        assert rising([against(video, other)[name] for other in others][::-1])
    same = against(video, video)
    assert same["psnr"] == 100 and same["ssim"] == pytest.approx(1)
    assert against(0 * video, 0 * video + 10)["psnr"] == pytest.approx(20 * np.log10(25.5))


def test_ssim_knows_structure_from_brightness():
    y = scene(count=1)[0, ..., 0].astype(np.float32)
    assert ssim(y, y + 6) > 0.97 > 0.8 > ssim(y, y[:, ::-1])
    assert ssim(np.full((32, 32), 100.0, np.float32), np.full((32, 32), 150.0, np.float32)) == (
        pytest.approx((2 * 100 * 150 + 6.5025) / (100**2 + 150**2 + 6.5025), rel=1e-3)
    )


def test_videos_of_another_length_or_size_are_not_compared(tmp_path):
    video = saved(tmp_path / "a.mp4", scene(2))
    for name, other in (("short", scene(2, count=9)), ("narrow", scene(2)[:, :, :64])):
        values = measure(video, prompt="", reference=saved(tmp_path / f"{name}.mp4", other))
        assert values["psnr"] is values["ssim"] is None
    assert measure(video, prompt="", reference=video)["psnr"] == 100


@pytest.mark.parametrize("loops", [False, True])
def test_one_pass_gives_figures_and_gates(loops, tmp_path, monkeypatch):
    video = saved(tmp_path / "a.mp4", scene(2))
    other = saved(tmp_path / "b.mp4", scene(3))
    alone = (
        measure(video, prompt="", reference=other, loops=loops),
        gates(video, loops=loops),
    )
    opened = []
    reader = measure_module.read_frames
    monkeypatch.setattr(
        measure_module, "read_frames", lambda path: opened.append(path) or reader(path)
    )
    assert measure_and_gate(video, prompt="", reference=other, loops=loops) == alone
    assert sorted(opened) == [video, other]
    assert None not in (alone[0]["psnr"], alone[0]["motion_smoothness"])


@pytest.mark.parametrize("what", ["no video", "cut short", "latents"])
def test_a_damaged_reference_is_not_the_fault_of_what_is_compared_with_it(what, tmp_path):
    for name in "ab":
        (tmp_path / name).mkdir()
        video = saved(tmp_path / name / "video.mp4", scene(2))
        np.save(tmp_path / name / "latents.npy", np.ones(3, np.float32))
    reference = tmp_path / "a/video.mp4"
    if what == "no video":
        reference.write_bytes(b"not a video at all")
    elif what == "cut short":
        reference.write_bytes(reference.read_bytes()[:-2000])
    else:
        reference.with_name("latents.npy").write_bytes(b"no array")
    values, passed = measure_and_gate(video, prompt="", reference=reference)
    assert all(passed.values()) and values["sharpness"] is not None
    assert (values["psnr"] is None) == (what != "latents")
    assert (values["latent_cosine"] is None) == (what == "latents")


def test_latents_are_compared_when_both_are_there(tmp_path):
    latents = np.random.default_rng(0).standard_normal((1, 5, 8, 8, 16)).astype(np.float32)
    cosines = []
    for name, strength in (("a", 0.0), ("b", 0.1), ("c", 1.0), ("d", 10.0)):
        (tmp_path / name).mkdir()
        np.save(tmp_path / name / "latents.npy", latents + strength * np.roll(latents, 1, axis=1))
        cosines.append(latent_cosine(tmp_path / "a" / "v.mp4", tmp_path / name / "v.mp4"))
    assert cosines[0] == pytest.approx(1) and rising(cosines[::-1])
    assert latent_cosine(tmp_path / "a" / "v.mp4", tmp_path / "v.mp4") is None
    np.save(tmp_path / "b" / "latents.npy", latents[:, :3])
    assert latent_cosine(tmp_path / "a" / "v.mp4", tmp_path / "b" / "v.mp4") is None


@pytest.mark.parametrize("damage", [b"", b"no array", b"\x93NUMPY\x01\x00\xff\xff{"])
def test_damaged_latents_are_said_so(tmp_path, damage):
    (tmp_path / "latents.npy").write_bytes(damage)
    with pytest.raises(BadFileError, match="latents"):
        latent_cosine(tmp_path / "v.mp4", tmp_path / "w.mp4")


def test_objects_in_latents_are_not_loaded(tmp_path):
    np.save(tmp_path / "latents.npy", np.array([{}], object), allow_pickle=True)
    with pytest.raises(BadFileError):
        latent_cosine(tmp_path / "v.mp4", tmp_path / "v.mp4")


@pytest.mark.parametrize("content", [b"", b"not a video at all", None])
def test_what_is_no_video_is_said_so(tmp_path, content):
    path = tmp_path / "v.mp4"
    if content is not None:
        path.write_bytes(content)
    for ask in (lambda: measure(path, prompt=""), lambda: gates(path)):
        with pytest.raises(BadFileError, match=r"v\.mp4"):
            ask()


def test_long_videos_take_no_more_memory(tmp_path):
    peaks = []
    for count in (17, 68):
        video = saved(tmp_path / f"{count}.mp4", scene(2, count=count))
        tracemalloc.start()
        gates(video)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0]


WORDS = Box(16, 16, 304, 64)


def lettered(strength=150.0, under=0.0):
    """Bars like letters in WORDS over a picture; `under` is how much goes on around them."""
    video = np.full((8, 180, 320, 3), 60.0) + noise(under, (8, 180, 320, 3))
    video[:, :70] = 60
    video[:, 20:60, 20:300] += strength * (np.arange(280) % 9 < 3)[:, None]
    return video


def enlarged(video):
    return np.repeat(np.repeat(video, 2, axis=1), 2, axis=2)


def test_contrast_of_text_is_that_of_its_colours(tmp_path):
    values = []
    for strength in (20, 60, 120, 190):
        video = saved(tmp_path / f"{strength}.mp4", lettered(strength))
        values.append(legibility(video, [WORDS])["text_contrast"])
    assert rising(values)
    linear = [((v / 255 + 0.055) / 1.055) ** 2.4 for v in (250, 60)]
    assert values[-1] == pytest.approx((linear[0] + 0.05) / (linear[1] + 0.05), rel=0.15)


def test_edges_are_lost_when_the_bits_go_elsewhere(tmp_path):
    kept = []
    for under in (0, 15, 60):
        video = saved(tmp_path / f"{under}.mp4", enlarged(lettered(60, under=under)))
        kept.append(legibility(video, [Box(32, 32, 608, 128)])["text_edges_kept"])
    assert kept[0] > 0.8 and rising(kept[::-1])


def test_the_worst_box_counts_and_boxes_must_be_inside(tmp_path):
    video = saved(tmp_path / "v.mp4", lettered())
    plain = Box(16, 100, 304, 160)
    assert legibility(video, [WORDS, plain])["text_contrast"] == pytest.approx(1, abs=0.1)
    assert measure(video, prompt="", text_boxes=[WORDS])["text_contrast"] > 4
    with pytest.raises(UsageError, match="320x180"):
        legibility(video, [Box(0, 0, 400, 100)])


def test_clip_without_its_weights_is_not_run(monkeypatch):
    for found, reason in ((None, "pip install"), ("here", "hf download")):
        monkeypatch.setattr(clip_score, "find_spec", lambda name, found=found: found)
        monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *names: None)
        clip_score._scorer.cache_clear()
        assert reason in not_run()["clip_score"]
        assert clip_score.ClipScore("a prompt").figures() == {"clip_score": None}
    clip_score._scorer.cache_clear()


def test_clip_score_is_the_mean_cosine(tmp_path, monkeypatch):
    def scorer(pictures, prompt):
        return [0.3 if prompt == "spots" else -0.3 for _ in pictures]

    monkeypatch.setattr(clip_score, "_scorer", lambda: (scorer, None))
    video = saved(tmp_path / "v.mp4", scene(2))
    assert measure(video, prompt="spots")["clip_score"] == pytest.approx(30)
    assert measure(video, prompt="other")["clip_score"] == 0
    assert measure(video, prompt=" ")["clip_score"] is None


FAKE_VBENCH = """import json, pathlib, sys
told = dict(zip(sys.argv, sys.argv[1:]))
videos = sorted(pathlib.Path(told["--videos_path"]).iterdir())
assert set(json.load(open(told["--prompt_file"]))) == {v.name for v in videos}
where = pathlib.Path(told["--output_path"])
where.mkdir()
scores = [{"video_path": str(v), "video_results": 0.25 + i / 4} for i, v in enumerate(videos)]
dynamic = [{"video_path": str(v), "video_results": True} for v in videos]
data = {"imaging_quality": [0.4, scores], "dynamic_degree": [1.0, dynamic]}
(where / "results_1_eval_results.json").write_text(json.dumps(data))
"""


def test_vbench_goes_out_and_comes_back(tmp_path, monkeypatch):
    videos = []
    for name in "ab":
        (tmp_path / name).mkdir()
        videos.append(saved(tmp_path / name / "video.mp4", scene(2, count=5)))
    fake = tmp_path / "fake.py"
    fake.write_text(FAKE_VBENCH)
    made = vbench.command
    monkeypatch.setattr(
        vbench, "command", lambda *args: [sys.executable, str(fake), *made(*args)[1:]]
    )
    folder = tmp_path / "out; rm -rf"  # a name that a shell would take for more
    vbench.export_videos([(video, f"prompt {video.parent.name}") for video in videos], folder)
    assert vbench.store(folder, vbench.run_vbench(folder, fake)) == 2
    assert vbench_scores.stored(videos[1])["vbench_imaging_quality"] == 0.5
    values = measure(videos[0], prompt="")
    assert (values["vbench_imaging_quality"], values["vbench_dynamic_degree"]) == (0.25, 1)
    assert values["vbench_aesthetic_quality"] is None
    assert json.loads((folder / "prompts.json").read_text())["00001.mp4"] == "prompt b"
    with pytest.raises(UsageError, match="exists"):
        vbench.export_videos([], folder)


def test_vbench_that_fails_is_said_so(tmp_path):
    vbench.export_videos([], tmp_path / "out")
    with pytest.raises(UsageError, match="not there"):
        vbench.run_vbench(tmp_path / "out", tmp_path / "python")
    fails = tmp_path / "fails"
    fails.write_text("#!/bin/sh\nexit 3\n")
    fails.chmod(0o755)
    with pytest.raises(GenerationError, match="code 3"):
        vbench.run_vbench(tmp_path / "out", fails)


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{", "[" * 100_000, '{"imaging_quality": 3}', '{"imaging_quality": [1, [3]]}',
     '{"imaging_quality": [1, {"video_path": 1}]}', '{"imaging_quality": [1, [{}]]}'],
)  # fmt: skip
def test_hostile_results_are_refused(tmp_path, text):
    (tmp_path / "r.json").write_text(text)
    with pytest.raises(BadFileError, match=r"r\.json"):
        vbench_scores.read_results(tmp_path / "r.json")


@pytest.mark.parametrize("value", ["NaN", "1e999", "null", '"0.5"', "1e300", "[1]", "9" * 400])
def test_scores_that_are_no_numbers_are_none(tmp_path, value):
    one = f'{{"video_path": "../../x/00000.mp4", "video_results": {value}}}'
    (tmp_path / "r.json").write_text(f'{{"imaging_quality": [1, [{one}]]}}')
    assert vbench_scores.read_results(tmp_path / "r.json") == {
        "00000.mp4": {"vbench_imaging_quality": None}
    }


def test_frames_have_the_colours_that_were_saved(tmp_path):
    colours = np.zeros((4, SIDE, SIDE, 3))
    colours[:, :48, :48], colours[:, :48, 48:], colours[:, 48:] = (200, 40, 40), (40, 200, 40), 128
    frames = list(read_frames(saved(tmp_path / "v.mp4", colours)))
    assert len(frames) == 4 and frames[0].fps == 16
    for y, x in ((24, 24), (24, 72), (72, 48)):
        assert np.abs(frames[2].rgb[y, x] - colours[0, y, x]).max() <= 4


def test_scores_beside_a_video_are_replaced_whole_and_read_with_care(tmp_path):
    video = saved(tmp_path / "video.mp4", scene(2, count=5))
    mine = tmp_path / "mine"
    mine.write_text("mine")
    (tmp_path / "vbench.json").symlink_to(mine)
    out = tmp_path / "out"
    vbench.export_videos([(video, "a prompt")], out)
    found = {"00000.mp4": {"vbench_imaging_quality": 0.5}, "unknown.mp4": {}}
    assert vbench_scores.store(out, found) == 1
    assert mine.read_text() == "mine"
    assert vbench_scores.stored(video)["vbench_imaging_quality"] == 0.5
    for text in ('{"a": NaN}', '{"a": 1, "a": 2}', "[]", "[" * 100_000, "\xff"):
        (tmp_path / "vbench.json").write_text(text, encoding="latin-1")
        with pytest.raises(BadFileError, match=r"vbench\.json holds no scores"):
            vbench_scores.stored(video)
