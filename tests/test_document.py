"""The commands and Python lines of the document this product comes from, as written there.

wan-mini makes the videos. The two commands at their full length are slow; short ones are not.
"""

import json
import shlex
from pathlib import Path

import av
import pytest

from mlx_wan import QualityProfile, VideoConfig, VideoFormat, Wan22Generator
from mlx_wan.cli.main import run

LINKEDIN = (
    'linkedin "AI Workforce Transformation 2026" --duration 10 --format square --quality high'
)
YOUTUBE = (
    'youtube --hook "The AI skills premium is real" '
    '--content "AI-skilled workers earn 56% more in 2026" '
    '--cta "Connect with Arthur Dell" --duration 30 --quality medium'
)


@pytest.fixture(autouse=True)
def fresh(tmp_path, monkeypatch):
    """A fresh machine: nothing installed, nothing made."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLX_WAN_HOME", str(tmp_path / "home"))


def made(command: str, capsys) -> tuple[Path, str]:
    """The video a command makes, whose path is all it prints, and what it told beside that."""
    assert run(shlex.split(command)) == 0
    out, err = capsys.readouterr()
    return Path(out.rstrip("\n")), err


def check(video: Path, size: tuple[int, int], fps: int, seconds: float) -> dict:
    """Size, rate, frame count, poster and record of a finished video; returns the record."""
    with av.open(str(video)) as container:
        stream = container.streams.video[0]
        assert (stream.width, stream.height) == size
        assert stream.average_rate == fps
        assert sum(1 for _ in container.decode(stream)) == round(seconds * fps)
    assert video.with_suffix(".png").is_file()
    return json.loads(video.with_suffix(".json").read_text())


@pytest.mark.slow
def test_the_linkedin_command(capsys):
    video, told = made(LINKEDIN, capsys)
    assert video.name == "linkedin_2026_ai_workforce_transformation_10s.mp4"
    record = check(video, (1080, 1080), 24, 10)
    assert record["production"]["profile"]["name"] == "high" and "quality high" in told
    assert record["production"]["brand"]["name"] == "Arthur Dell"


@pytest.mark.slow
def test_the_youtube_command(capsys):
    video, told = made(YOUTUBE, capsys)
    assert video.name == "youtube_short_30s.mp4"
    record = check(video, (1080, 1920), 30, 30)
    assert record["production"]["profile"]["name"] == "medium" and "quality medium" in told
    said = [text["text"] for text in record["storyboard"]["texts"]]
    assert said[1] == "AI-skilled workers earn 56% more in 2026"


def test_a_short_linkedin_video(capsys):
    video, told = made('linkedin "Hello 2026" --duration 1 --format wide', capsys)
    assert video.name == "linkedin_2026_hello_1s.mp4" and video.parent.name == "processed"
    record = check(video, (1920, 1080), 24, 1)
    assert record["production"]["reason"] in told and "medium" in told
    assert record["tags"] == ["linkedin"] and record["title"] == "Hello 2026"


def test_the_python_lines():
    generator = Wan22Generator()
    video = generator.generate_youtube_short(
        hook="Hi", content="56%", cta="Go", duration=1, message_density="low"
    )
    assert video.name == "youtube_short_1s.mp4"
    check(video, (1080, 1920), 30, 1)
    config = VideoConfig(
        prompt="slow blue aurora on a black background",
        duration=1,
        format=VideoFormat.LINKEDIN_SQUARE,
        quality_profile=QualityProfile.LOW_DENSITY,
        has_text_overlay=False,
        branding="Arthur Dell",
        output_filename="aurora.mp4",
    )
    [again] = generator.batch_generate([config])
    assert again.name == "aurora.mp4"
    record = check(again, (1080, 1080), 24, 1)
    assert record["production"]["brand"]["name"] == "Arthur Dell"
