"""Clips on disk and the moving background: exact frames, seamless loops, joins without a jump."""

import itertools
import threading
from fractions import Fraction

import av
import numpy as np
import pytest

from mlx_wan.errors import BadFileError, GenerationError, UsageError
from mlx_wan.studio import retime
from mlx_wan.studio.ahead import ahead
from mlx_wan.studio.background import Background, shot_seconds, shot_spans
from mlx_wan.studio.clips import open_clip, read_clip, write_clip
from mlx_wan.studio.joins import chained, match
from mlx_wan.studio.resize import Resizer, blue_noise, crop_loss
from mlx_wan.studio.storyboard import Shot, Storyboard


def waves(count: int, width: int = 80, height: int = 48, step: float = 2.0, level: float = 120):
    """Smooth stripes moving `step` pixels a frame, uint8 (count, height, width, 3)."""
    x = np.arange(width)[None, None, :, None] - step * np.arange(count)[:, None, None, None]
    y = np.arange(height)[None, :, None, None]
    colour = np.array([60, 40, 20])
    return (level + colour * np.sin(2 * np.pi * x / 32) * np.cos(y / 20)).astype(np.uint8)


def change(pictures: np.ndarray) -> np.ndarray:
    return np.abs(np.diff(np.asarray(pictures, np.float32), axis=0)).mean(axis=(1, 2, 3))


def board(*shots: Shot, form: str = "square") -> Storyboard:
    return Storyboard(form, sum(shot.duration for shot in shots), shots)


# Clips


@pytest.mark.parametrize("size", [(80, 48), (48, 80), (17, 33)])
def test_a_clip_is_kept_exactly(tmp_path, size):
    pixels = np.random.default_rng(0).integers(0, 256, (17, size[1], size[0], 3), dtype=np.uint8)
    clip = write_clip(iter([pixels[:1], pixels[1:]]), tmp_path / "a.mkv", 16, loops=True)
    assert (clip.size, clip.fps, clip.num_frames, clip.loops) == (size, 16, 17, True)
    assert open_clip(tmp_path / "a.mkv") == clip
    assert np.array_equal(list(read_clip(clip)), pixels)
    assert np.array_equal(list(read_clip(clip)), pixels)  # again
    continued = write_clip([pixels], tmp_path / "b.mkv", 30, continues=True)
    assert open_clip(tmp_path / "b.mkv") == continued and continued.continues


def test_a_failing_source_leaves_no_clip(tmp_path):
    def failing():
        yield waves(3)
        raise GenerationError("broke")

    with pytest.raises(GenerationError, match="broke"):
        write_clip(failing(), tmp_path / "a.mkv", 16)
    with pytest.raises(GenerationError, match="no frames"):
        write_clip([], tmp_path / "a.mkv", 16)
    assert list(tmp_path.iterdir()) == []
    write_clip([waves(2)], tmp_path / "a.mkv", 16)
    with pytest.raises(UsageError, match="exists"):
        write_clip([waves(2)], tmp_path / "a.mkv", 16)


def test_other_files_and_cut_ones_are_no_clips(tmp_path):
    (tmp_path / "text.mkv").write_text("nothing of ours")
    with pytest.raises(BadFileError):
        open_clip(tmp_path / "text.mkv")
    with pytest.raises(BadFileError):
        open_clip(tmp_path / "absent.mkv")
    clip = write_clip([waves(17)], tmp_path / "a.mkv", 16)
    data = clip.path.read_bytes()
    clip.path.write_bytes(data[: len(data) // 2])
    with pytest.raises(BadFileError):
        list(read_clip(clip))


# Size


@pytest.mark.parametrize(
    ("source", "target", "lost"),
    [
        ((64, 64), (1080, 1080), 0),
        ((80, 48), (1920, 1080), 0.0625),  # wan-mini's shapes lose the most we take
        ((48, 80), (1080, 1920), 0.0625),
        ((1280, 720), (1920, 1080), 0),
        ((832, 480), (1920, 1080), 0.0257),
        ((1280, 704), (1920, 1080), 0.0222),
    ],
)
def test_every_models_shapes_fill_the_formats(source, target, lost):
    assert crop_loss(source, target) == pytest.approx(lost, abs=1e-3)
    picture = np.zeros((source[1], source[0], 3), np.uint8)
    assert Resizer(source, target)(picture).shape == (target[1], target[0], 3)


def test_other_shapes_are_refused_not_squeezed():
    with pytest.raises(UsageError, match=r"25\.0% of it would be cut"):
        Resizer((64, 48), (1080, 1080))


@pytest.mark.parametrize("source", [(80, 48), (640, 384)])
def test_the_crop_is_centred_and_nothing_is_squeezed(source):
    """A gradient's levels are where they belong, seen from the centre, in both directions."""
    scale = 1920 / source[0]
    x = np.arange(source[0]) + 0.5 - source[0] / 2
    y = np.arange(source[1]) + 0.5 - source[1] / 2
    gradient = np.zeros((source[1], source[0], 3), np.float32)
    gradient[..., 0] = 128 + 0.4 * x * 320 / source[0]
    gradient[..., 1] = 128 + 0.4 * y[:, None] * 320 / source[0]
    gradient[..., 2] = 128
    large = Resizer(source, (1920, 1080))(gradient).astype(np.float64)
    inner = slice(int(4 * scale), int(-4 * scale))
    across = large[:, inner, 0].mean(axis=0)
    down = large[inner, :, 1].mean(axis=1)
    wanted = 128 + 0.4 * (np.arange(1920) + 0.5 - 960) * 320 / 1920
    assert np.abs(across - wanted[inner]).max() < 0.4
    wanted = 128 + 0.4 * (np.arange(1080) + 0.5 - 540) * 320 / 1920
    assert np.abs(down - wanted[inner]).max() < 0.4
    assert abs(large[..., 2].mean() - 128) < 0.02


def test_a_soft_gradient_is_dithered_without_steps():
    """Local means follow a gradient of 6 levels over the width much closer than whole levels do."""
    gradient = np.zeros((48, 80, 3), np.float32)
    gradient[:] = np.linspace(40, 46, 80)[:, None]
    exact = np.linspace(40, 46, 1920)
    large = Resizer((80, 48), (1920, 1080))(gradient).astype(np.float64)
    means = large.mean(axis=(0, 2)).reshape(-1, 16).mean(axis=1)
    error = (means - exact.reshape(-1, 16).mean(axis=1))[5:-5]
    steps = (np.round(exact) - exact).reshape(-1, 16).mean(axis=1)[5:-5]
    assert error.std() < 0.05 < steps.std() / 4
    assert large.std(axis=0).max() < 1.2  # and the noise is about a grey level


def test_an_edge_does_not_ring_in_what_becomes_much_larger():
    edge = np.full((48, 80, 3), 60, np.float32)
    edge[:, 40:] = 190
    large = Resizer((80, 48), (1920, 1080))(edge)
    assert large.min() >= 58 and large.max() <= 192
    rows = large[..., 1].astype(np.float64).mean(axis=0)
    assert (np.diff(rows.reshape(-1, 8).mean(axis=1)) > -0.2).all()


def test_shrinking_averages():
    picture = np.random.default_rng(1).integers(0, 256, (720, 1280, 3), dtype=np.uint8)
    small = Resizer((1280, 720), (320, 180))(picture)
    assert abs(float(small.mean()) - float(picture.mean())) < 1
    assert small.std() < picture.std() / 2


def test_blue_noise_is_uniform_and_has_no_low_frequencies():
    noise = blue_noise(64)
    assert np.array_equal(np.sort(noise.ravel()), (np.arange(4096) + 0.5).astype(np.float32) / 4096)
    coarse = noise.reshape(8, 8, 8, 8).mean(axis=(1, 3))
    assert coarse.std() < 0.25 * noise.std() / 8  # white noise: noise.std() / 8


# Time


def test_a_loop_has_no_seam_and_a_steady_pace():
    """An open loop whose frames change in bursts of four, as the decoder's do."""
    bursts = np.cumsum(np.tile([3.2, 2.4, 1.6, 0.8], 5))[:17]
    frames = np.concatenate([waves(1, step=0)] * 17).astype(np.float32)
    for index, moved in enumerate(bursts - bursts[0]):
        x = np.arange(80)[None, :, None] - moved
        frames[index] = 120 + np.array([60, 40, 20]) * np.sin(2 * np.pi * x / 32)
    frames = (frames + np.linspace(0, 40, 17)[:, None, None, None]).astype(np.uint8)
    assert change(frames[[0, 16]])[0] > 1.2 * np.median(change(frames))  # it is open

    closed = retime.close_loop(frames)
    assert change(closed[[-1, 0]])[0] <= 1.1 * change(closed).max()
    loop = retime.loop(frames, 16 / 3 / 24, "motion")
    pictures = np.stack([next(loop) for _ in range(72 * 2 + 1)])
    changes = change(pictures)
    assert np.abs(pictures[:72] - pictures[72:144]).max() < 1e-3  # three seconds, then again
    assert changes[71] <= 1.1 * np.median(changes)
    assert changes[69:75].max() <= 1.1 * changes[3:69].max()
    pace = changes[:72].reshape(4, 18).mean(axis=0)
    plain = change(frames)[:16].reshape(4, 4).mean(axis=0)
    assert plain.max() / plain.min() > 2.5
    assert pace.max() / pace.min() < 2


def test_without_interpolation_a_loop_repeats_its_own_frames():
    frames = waves(17)
    loop = retime.loop(frames, 0.25, "off")
    pictures = np.stack([next(loop) for _ in range(64)])
    own = retime.close_loop(frames)
    assert all(any(np.array_equal(p, frame) for frame in own) for p in pictures)


@pytest.mark.parametrize(("fps", "target"), [(16, 24), (16, 30), (24, 30), (24, 24)])
def test_motion_lands_between_the_frames(fps, target):
    """Stripes at the delivered rate are where they would be, much nearer than repeated frames."""
    count = 17
    truth = np.stack([_moved(i * fps / target) for i in range(16)])
    errors = {}
    for way in ("motion", "off"):
        source = iter([_moved(i) for i in range(count)])
        pictures = list(retime.once(source, Fraction(fps), target, way))
        assert len(pictures) >= int(count * target / fps), way
        inner = np.stack(pictures[:16])[:, 16:-16, 24:-24]
        errors[way] = np.abs(inner - truth[:, 16:-16, 24:-24]).mean()
    assert errors["motion"] <= max(0.7 * errors["off"], 0.6)


def _moved(time: float) -> np.ndarray:
    y, x = np.mgrid[:96, :128].astype(np.float64)
    x = x - 3 * time
    grey = 128 + 50 * np.sin(x / 6) * np.cos(y / 9) + 30 * np.sin(x / 17 + y / 5)
    return np.repeat(grey[..., None], 3, axis=2).astype(np.uint8)


def test_a_scene_cut_is_not_morphed():
    scenes = [waves(1, 128, 96, level=60)[0]] * 8 + [waves(1, 128, 96, level=190)[0][:, ::-1]] * 8
    pictures = list(retime.once(iter(scenes), Fraction(16), 24, "motion"))
    means = [float(p.mean()) for p in pictures]
    assert all(abs(m - 60) < 3 or abs(m - 190) < 3 for m in means), means


# Joins


def test_clips_of_a_shot_are_joined_without_a_jump():
    first, second = waves(20), waves(20, level=135)
    independent = [(lambda: iter(first), 20, False), (lambda: iter(second), 20, False)]
    faded = np.stack(list(chained(independent, 8)))
    assert len(faded) == 32
    assert np.array_equal(faded[:12], first[:12])
    assert change(faded).max() < 1.5 * change(first).max()
    assert np.abs(faded[-1].astype(int) - second[-1]).mean() < 2  # its own colours at the end

    going_on = waves(40)[20:] + np.uint8(15)  # the same motion in other colours
    continued = [(lambda: iter(first), 20, False), (lambda: iter(going_on), 20, True)]
    cut = np.stack(list(chained(continued, 8)))
    assert len(cut) == 40
    assert abs(float(cut[19].mean()) - float(cut[20].mean())) < 1.5
    assert np.abs(cut[-1].astype(int) - going_on[-1]).mean() < 2


def test_colours_are_matched_only_so_far():
    dark, light = waves(3, level=70), waves(3, level=190)
    tint = match(dark, light)
    moved = tint.apply(light[0].astype(np.float32), 1)
    assert 20 < float(light[0].mean()) - float(moved.mean()) < 28
    assert np.array_equal(tint.apply(light[0], 0), light[0])


# The background


@pytest.fixture
def loops(tmp_path):
    """A function that makes looping clips of a size."""
    number = itertools.count()

    def make(count: int, width: int = 64, height: int = 64):
        return [
            [
                write_clip(
                    [waves(17, width, height, level=60 + 60 * (i % 3))],
                    tmp_path / f"{width}x{height}_{next(number)}.mkv",
                    16,
                    loops=True,
                )
            ]
            for i in range(count)
        ]

    return make


@pytest.mark.parametrize(
    ("form", "size", "duration"),
    [("square", (64, 64), 1.0), ("wide", (80, 48), 1.27), ("shorts", (48, 80), 1.05)],
)
def test_delivered_frames_are_exact(loops, form, size, duration):
    storyboard = board(Shot("a", duration), form=form)
    background = Background(storyboard, loops(1, *size), stretch=3.0)
    frames = list(background.frames())
    form = storyboard.format
    assert len(frames) == background.num_frames == round(duration * form.fps)
    assert all(f.shape == (form.height, form.width, 3) and f.dtype == np.uint8 for f in frames)
    assert frames[0].flags.c_contiguous and frames[0].flags.writeable
    again = background.frames()
    assert np.array_equal(next(again), frames[0])
    again.close()


def test_previews_are_the_same_pictures_small(loops):
    background = Background(board(Shot("a", 1), Shot("b", 1)), loops(2), stretch=3.0)
    previews = list(background.previews(90))
    assert len(previews) == background.num_frames == 48
    for index, frame in enumerate(background.frames()):
        small = frame.reshape(90, 12, 90, 12, 3).mean(axis=(1, 3))
        assert np.abs(small - previews[index]).mean() < 1.5
    assert np.array_equal(list(background.previews(90)), previews)


def test_shots_fade_over_and_nothing_jumps(loops):
    storyboard = board(Shot("a", 1.5), Shot("b", 1.5), Shot("c", 1.0))
    assert shot_spans(storyboard) == [(0, 42), (30, 78), (66, 96)]
    assert shot_seconds(storyboard) == [1.75, 2.0, 1.25]
    previews = list(Background(storyboard, loops(3), stretch=3.0).previews(64))
    means = np.array([float(p.mean()) for p in previews])
    assert np.abs(np.diff(means)).max() < 12  # 60 levels in half a second
    cut = board(Shot("a", 1.5), Shot("b", 1.5, "cut"), Shot("c", 1.0, "cut"))
    assert shot_spans(cut) == [(0, 36), (36, 72), (72, 96)]
    means = [float(p.mean()) for p in Background(cut, loops(3, 48, 48), stretch=3.0).previews(64)]
    assert np.flatnonzero(np.abs(np.diff(means)) > 30).tolist() == [35, 71]


def test_clips_that_play_once_are_retimed_and_may_not_end_early(tmp_path):
    clips = [[write_clip([waves(33)], tmp_path / "a.mkv", 16)]]
    frames = [
        f.copy() for f in Background(board(Shot("a", 2.0)), _square(clips, tmp_path)).previews(64)
    ]
    assert len(frames) == 48
    with pytest.raises(GenerationError, match="too short"):
        list(Background(board(Shot("a", 4.0)), _square(clips, tmp_path)).previews(64))
    with pytest.raises(GenerationError, match="too short"):
        list(Background(board(Shot("a", 4.0)), _square(clips, tmp_path)).frames())


def _square(clips, tmp_path):
    path = tmp_path / "square.mkv"
    if not path.exists():
        frames = np.stack(list(read_clip(clips[0][0])))
        write_clip([frames[:, :, :48]], path, 16)
    return [[open_clip(path)]]


def test_wrong_clips_are_refused(loops, tmp_path):
    storyboard = board(Shot("a", 1), Shot("b", 1))
    with pytest.raises(UsageError, match="1 of 2 shots"):
        Background(storyboard, loops(1))
    with pytest.raises(UsageError, match="one size"):
        Background(storyboard, [*loops(1), *loops(1, 48, 48)])
    with pytest.raises(UsageError, match="cut away"):
        Background(storyboard, loops(2, 80, 48))
    with pytest.raises(UsageError, match="interpolate"):
        Background(storyboard, loops(2), interpolate="magic")


def test_working_ahead_keeps_order_errors_and_stops():
    assert list(ahead(iter(range(50)), 3)) == list(range(50))

    def failing():
        yield 1
        raise GenerationError("broke")

    with pytest.raises(GenerationError, match="broke"):
        list(ahead(failing()))
    made = []
    few = ahead(made.append(i) or i for i in range(1000))
    assert [next(few), next(few)] == [0, 1]
    few.close()
    assert len(made) < 10
    assert threading.active_count() <= 2 or "ThreadPool" not in str(threading.enumerate())


def test_gradients_survive_the_encoder(tmp_path):
    """Decoded, the local mean follows a slow gradient nearer than undithered frames do."""
    from mlx_wan.studio.video_io import save_video

    gradient = np.zeros((30, 40, 3), np.float32)
    gradient[:] = (np.linspace(50, 58, 40) + np.linspace(0, 3, 30)[:, None])[..., None]
    resizer = Resizer((40, 30), (640, 480), soft=True)
    exact = Resizer.__new__(Resizer)
    exact.__dict__ |= resizer.__dict__ | {"noise": np.full_like(resizer.noise, 0.5)}
    errors = {}
    x, y = np.meshgrid((np.arange(640) + 0.5) / 16 - 0.5, (np.arange(480) + 0.5) / 16 - 0.5)
    truth = (50 + 8 * x / 39 + 3 * y / 29) * 219 / 255 + 16
    for name, way in (("dithered", resizer), ("plain", exact)):
        path = save_video([np.stack([way(gradient)] * 12)], tmp_path / f"{name}.mp4", fps=24)
        with av.open(str(path)) as container:
            luma = [f.to_ndarray(format="yuv420p")[:480] for f in container.decode(video=0)]
        error = (luma[6] - truth)[32:-32, 32:-32].reshape(26, 16, 36, 16).mean(axis=(1, 3))
        errors[name] = error.std()
    assert errors["dithered"] < 0.7 * errors["plain"], errors
