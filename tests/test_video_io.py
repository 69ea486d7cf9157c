"""The MP4: exact frames, BT.709, web-ready, and never half-written."""

import av
import numpy as np
import pytest
from PIL import Image

from mlx_wan.errors import GenerationError, MlxWanError, UsageError
from mlx_wan.files import free_name
from mlx_wan.health import FrameHealth
from mlx_wan.studio import video_io
from mlx_wan.studio.poster import BestFrame
from mlx_wan.studio.video_io import save_video, video_fault


def moving_bar(count: int, height: int = 64, width: int = 96):
    for index in range(count):
        frame = np.full((1, height, width, 3), (200, 40, 20), np.uint8)
        frame[0, :, index * 4 : index * 4 + 8] = (10, 220, 30)
        yield frame


def test_frames_survive_with_size_rate_and_colour(tmp_path):
    path = save_video(moving_bar(17), tmp_path / "v.mp4", fps=16, metadata={"title": "bar"})
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
        context = stream.codec_context
        assert container.metadata["title"] == "bar"
    assert (stream.frames, stream.average_rate, stream.start_time) == (17, 16, 0)
    assert (context.width, context.height, context.pix_fmt) == (96, 64, "yuv420p")
    assert (context.name, context.profile) == ("h264", "High")
    tags = (context.color_primaries, context.color_trc, context.colorspace, context.color_range)
    assert tags == (1, 1, 1, 1)
    assert len(frames) == 17
    assert np.abs(frames[0][10, 80].astype(int) - (200, 40, 20)).max() <= 3
    assert np.abs(frames[16][10, 67].astype(int) - (10, 220, 30)).max() <= 6


def test_index_comes_first_and_there_is_no_edit_list(tmp_path):
    data = save_video(moving_bar(9), tmp_path / "v.mp4", fps=24).read_bytes()
    assert 0 < data.find(b"moov") < data.find(b"mdat")
    assert b"elst" not in data
    assert b"colrnclx\x00\x01\x00\x01\x00\x01" in data


def test_nothing_is_overwritten(tmp_path):
    taken = tmp_path / "v.mp4"
    taken.write_text("mine")
    with pytest.raises(UsageError, match="exists"):
        save_video(moving_bar(2), taken, fps=16)
    assert taken.read_text() == "mine"
    assert free_name(taken).name == "v_2.mp4"


def test_a_failing_source_leaves_nothing_behind(tmp_path):
    def failing():
        yield from moving_bar(3)
        raise GenerationError("broke")

    with pytest.raises(GenerationError, match="broke"):
        save_video(failing(), tmp_path / "v.mp4", fps=16)
    assert list(tmp_path.iterdir()) == []


def test_odd_sizes_and_no_frames_are_refused(tmp_path):
    with pytest.raises(UsageError, match="even"):
        save_video(moving_bar(2, height=63), tmp_path / "v.mp4", fps=16)
    with pytest.raises(GenerationError, match="no frames"):
        save_video(iter(()), tmp_path / "v.mp4", fps=16)
    assert list(tmp_path.iterdir()) == []


def test_an_unwritable_place_is_one_clear_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(MlxWanError, match="cannot be written"):
        save_video(moving_bar(2), tmp_path / "file" / "v.mp4", fps=16)


@pytest.mark.parametrize(
    ("chunks", "verdict"),
    [
        ([np.zeros((1, 8, 8, 3), np.uint8), np.full((4, 8, 8, 3), 5, np.uint8)], "black"),
        ([np.full((5, 8, 8, 3), 99, np.uint8)], "frozen"),
        (list(moving_bar(5)), None),
        ([np.full((1, 8, 8, 3), 99, np.uint8)], None),
    ],
)
def test_black_and_frozen_output_is_noticed(chunks, verdict):
    health = FrameHealth()
    passed = list(health.watch(iter(chunks)))
    assert sum(len(chunk) for chunk in passed) == sum(len(chunk) for chunk in chunks)
    assert health.verdict() == verdict


def test_the_encoders_settings_are_those_asked_for(tmp_path):
    sizes = {}
    for crf, preset in ((14, "medium"), (30, "medium"), (30, "veryfast")):
        path = tmp_path / f"{crf}_{preset}.mp4"
        save_video(moving_bar(17), path, fps=16, crf=crf, preset=preset)
        data = path.read_bytes()
        assert f"crf={crf}.0".encode() in data and b"aq=3:1.30" in data and b"keyint=8 " in data
        assert (b"subme=7" in data) == (preset == "medium")
        sizes[crf] = len(data)
    assert sizes[14] > sizes[30]


def test_what_is_written_is_read_again(tmp_path, monkeypatch):
    good = save_video(moving_bar(9), tmp_path / "v.mp4", fps=16)
    assert video_fault(good, 9, (96, 64), 16) is None
    for wrong in ((8, (96, 64), 16), (9, (64, 96), 16), (9, (96, 64), 24)):
        assert "instead of" in (video_fault(good, *wrong) or "")
    data = good.read_bytes()
    (tmp_path / "cut.mp4").write_bytes(data[: len(data) - 200])
    assert video_fault(tmp_path / "cut.mp4", 9, (96, 64), 16) is not None
    (tmp_path / "head.mp4").write_bytes(data[:100])
    assert "cannot be read" in (video_fault(tmp_path / "head.mp4", 9, (96, 64), 16) or "")
    for options, fault in (({}, "not in front"), ({"movflags": "+faststart"}, "edit list")):
        monkeypatch.setattr(video_io, "_MP4_OPTIONS", options)
        with pytest.raises(MlxWanError, match=fault):
            save_video(moving_bar(9), tmp_path / "bad.mp4", fps=16)
        assert not (tmp_path / "bad.mp4").exists()


def test_the_poster_is_a_frame_with_words_fully_there(tmp_path):
    def frames():
        for index in range(48):
            x = np.linspace(60, 90, 96) + index / 10
            frame = np.repeat(np.tile(x, (64, 1))[..., None], 3, axis=2)
            words = np.clip(min(index - 12, 36 - index) / 6, 0, 1)  # fade in from 12, out to 36
            frame[20:40, 20:70:4] += 120 * words
            if index > 44:
                frame[:] = 255
            yield frame.astype(np.uint8)

    best = BestFrame(every=4)
    passed = list(best.watch(frames()))
    assert np.array_equal(passed, list(frames()))
    assert 18 <= best.index <= 30
    path = best.save(tmp_path / "poster.png")
    assert np.array_equal(np.asarray(Image.open(path)), passed[best.index])
    with pytest.raises(GenerationError, match="no frames"):
        BestFrame(every=4).save(tmp_path / "none.png")
