"""Batches: all checked before the first starts, the others made when one fails, continued."""

import json
from pathlib import Path

import pytest

from mlx_wan.cli import deliver
from mlx_wan.cli.main import run
from mlx_wan.errors import GenerationError

YAML = """\
- kind: linkedin
  topic: AI Workforce Transformation 2026
  duration: 10
- kind: youtube
  hook: The AI skills premium is real
  content: AI-skilled workers earn 56% more in 2026
  cta: Connect with Arthur Dell
- kind: generate
  prompt: slow blue aurora
  format: wide
  no-brand: true
"""
JSON = """\
{"defaults": {"kind": "generate", "quality": "low", "format": "square"},
 "videos": [{"prompt": "slow rings"}, {"prompt": "soft waves", "quality": "high"}]}
"""
CSV = """\
kind,topic,prompt,duration,format,no_brand,seed,tags
linkedin,Data Centres,,8,square,,3,"energy, power"
generate,,slow rings,2.5,shorts,yes,,
"""


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLX_WAN_HOME", str(tmp_path / "home"))
    return tmp_path


@pytest.fixture
def made(here, monkeypatch) -> list:
    """What was made; nothing is rendered. A prompt with "fail" in it fails."""
    done: list = []

    def make(plan, networks=None, **_):
        prompt = plan.storyboard.shots[0].prompt
        done.append((prompt, networks))
        if "fail" in prompt:
            raise GenerationError("it came out black", "another seed")
        if "stop" in prompt:
            raise KeyboardInterrupt
        video = here / f"{len(done)}.mp4"
        video.write_text("video")
        return {"path": str(video), "record": {"id": None}}

    monkeypatch.setattr(deliver, "make", make)
    return done


def batch(name: str, text: str, *flags: str) -> int:
    Path(name).write_text(text)
    return run(["batch", name, *flags])


def told(capsys) -> dict:
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize(("name", "text", "count"), [("b.yaml", YAML, 3), ("b.json", JSON, 2)])
def test_dry_run_shows_every_plan_and_writes_nothing(name, text, count, here, capsys):
    assert batch(name, text, "--dry-run", "--json") == 0
    items = told(capsys)["items"]
    assert [item["state"] for item in items] == ["planned"] * count
    assert all(item["plans"] and item["storyboard"] for item in items)
    assert [p.name for p in here.iterdir()] == [name]


def test_settings_mean_what_they_mean_to_the_commands(here, capsys):
    assert batch("b.yaml", YAML, "--dry-run", "--json") == 0
    first, second, third = told(capsys)["items"]
    assert first["storyboard"]["texts"][0]["text"] == "AI Workforce Transformation 2026"
    assert first["production"]["stem"] == "linkedin_2026_ai_workforce_transformation_10s"
    assert second["storyboard"]["format"] == "shorts" and second["storyboard"]["duration"] == 30
    assert third["production"]["brand"] is None and first["production"]["brand"] is not None
    assert [item["line"] for item in (first, second, third)] == [1, 4, 8]


def test_defaults_are_for_all_and_an_item_wins(here, capsys):
    assert batch("b.json", JSON, "--dry-run", "--json") == 0
    assert [i["production"]["profile"]["name"] for i in told(capsys)["items"]] == ["low", "high"]


def test_the_words_of_a_csv_become_values(here, capsys):
    assert batch("b.csv", CSV, "--dry-run", "--json") == 0
    first, second = told(capsys)["items"]
    assert (first["storyboard"]["duration"], first["production"]["seed"]) == (8, 3)
    assert second["storyboard"]["duration"] == 2.5 and second["production"]["brand"] is None
    assert (first["line"], second["line"]) == (2, 3)


def test_a_row_of_several_lines_is_told_by_its_first(here, capsys):
    text = 'kind,topic\n\nlinkedin,"Data\nCentres"\nlinkedin,Rings\n'
    assert batch("b.csv", text, "--dry-run", "--json") == 0
    assert [item["line"] for item in told(capsys)["items"]] == [3, 5]


def test_everything_wrong_is_listed_before_anything_is_made(here, made, capsys):
    text = YAML + (
        "- kind: portrait\n  topic: a\n"
        "- kind: linkedin\n  topik: a\n"
        "- kind: linkedin\n  topic: a\n  format: tall\n"
        "- kind: generate\n  prompt: a\n  format: wide\n  seed: -3\n"
        "- just words\n"
        "- {kind: generate, prompt: a, format: wide, output: same.mp4}\n"
        "- {kind: generate, prompt: b, format: wide, output: same.mp4}\n"
    )
    assert batch("b.yaml", text, "--json") == 2
    out = told(capsys)
    starts = [error.split(":")[0] for error in out["errors"]]
    lines = {4: 12, 5: 14, 6: 16, 7: 19, 8: 23, 10: 25}
    assert starts == [f"item {number} (line {line})" for number, line in lines.items()]
    assert "portrait" in out["errors"][0] and "topik" in out["errors"][1]
    assert "output" in out["errors"][-1] and made == [] and not (here / "home").exists()


def test_one_that_fails_does_not_stop_the_others_and_is_tried_again(here, made, capsys):
    items = [{"kind": "generate", "prompt": p, "format": "wide"} for p in ("a", "fail", "c")]
    assert batch("b.json", json.dumps(items), "--json") == 1
    assert [item["state"] for item in told(capsys)["items"]] == ["made", "failed", "made"]
    assert len({networks for _, networks in made}) == 1 and made[0][1] is not None  # shared
    assert run(["batch", "b.json"]) == 1
    assert [prompt for prompt, _ in made] == ["a", "fail", "c", "fail"]
    shown = capsys.readouterr()
    assert "1 of 3 videos failed" in shown.err and "black" in shown.out


def test_stopped_it_goes_on_where_it_stopped(here, made, capsys):
    items = [{"kind": "generate", "prompt": p, "format": "wide"} for p in ("a", "a", "stop", "c")]
    assert batch("b.json", json.dumps(items)) == 130
    assert [prompt for prompt, _ in made] == ["a", "a", "stop"]  # the same twice is two videos
    items[2]["prompt"] = "b"
    assert batch("b.json", json.dumps(items)) == 0
    assert [prompt for prompt, _ in made[3:]] == ["b", "c"]
    assert run(["batch", "b.json"]) == 0 and len(made) == 5
    (here / "1.mp4").unlink()
    assert run(["batch", "b.json"]) == 0 and [prompt for prompt, _ in made[5:]] == ["a"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("b.yaml", ""),
        ("b.yaml", "just words"),
        ("b.yaml", "videos: {}"),
        ("b.yaml", "- &a [1]\n- *a"),
        ("b.yaml", "movies: []"),
        ("b.json", "[{]"),
        ("b.json", "[]"),
        ("b.csv", "kind,topic\n"),
        ("b.csv", "kind,kind\ngenerate,generate\n"),
        ("b.csv", "kind,topic\nlinkedin,a,too many cells\n"),
        ("b.csv", "kind,seed,prompt,format\ngenerate,three,a,wide\n"),
        ("b.csv", 'kind,topic\nlinkedin,"never ends\n'),
        ("b.csv", "kind,no_brand,topic\nlinkedin,perhaps,a\n"),
        ("b.yaml", "- {kind: linkedin, topic: a, no_brand: 1}"),
        ("b.yaml", "- {kind: linkedin, topic: a, output: [1]}"),
        ("b.yaml", "- {kind: linkedin, topic: a, model: 3}"),
        ("b.json", '[{"kind": "linkedin", "topic": "a", "output": "a\\u0000b.mp4"}]'),
        ("b.yaml", "- {kind: linkedin, topic: a, quality: {a: 1}}"),
        ("b.yaml", "- {kind: youtube, hook: 3}"),
        ("b.yaml", "- {kind: generate, prompt: a, format: wide, steps: many}"),
    ],
)
def test_bad_files_are_refused(name, text, here, made, capsys):
    assert batch(name, text) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and "a mistake of mlx-wan" not in error and made == []


def test_any_value_of_any_setting_is_accepted_or_refused(here, made, capsys):
    from mlx_wan.cli.batch import _kinds

    said = {
        "linkedin": {"topic": "Data Centres"},
        "youtube": {"hook": "One", "content": "Two", "cta": "Three"},
        "generate": {"prompt": "waves", "format": "square"},
    }
    wrong = (0, 1e30, "x", "\0", [1], {"a": 1}, True)
    items = [
        {"kind": kind, **said[kind], name: value}
        for kind, settings in _kinds().items()
        for name in settings
        for value in wrong
    ]
    assert len(items) > 400
    assert batch("b.yaml", json.dumps(items), "--json") == 2
    out = capsys.readouterr()
    assert "a mistake of mlx-wan" not in out.err
    assert 0.6 * len(items) < len(json.loads(out.out)["errors"]) < len(items)
    assert made == []


def test_guidance_is_a_number_or_words(here, capsys):
    items = [
        {"kind": "generate", "prompt": "a", "format": "wide", "guidance_scale": scale}
        for scale in (3, "3", "high_noise=3,low_noise=3")
    ]
    assert batch("b.json", json.dumps(items), "--dry-run", "--json") == 0
    for item in told(capsys)["items"]:
        assert [e["guidance_scale"] for e in item["plans"][0]["experts"]] == [3, 3]


def test_a_missing_file_is_told(here, capsys):
    assert run(["batch", "missing.yaml"]) == 2
    assert "missing.yaml" in capsys.readouterr().err


def test_the_table_gives_paths_whole(capsys, monkeypatch):
    from mlx_wan.cli.batch import _print_table

    monkeypatch.delenv("COLUMNS", raising=False)
    path = "/videos/" + "long/" * 40 + "x.mp4"
    row = {"number": 1, "kind": "linkedin", "title": "Hi", "state": "made", "result": path}
    _print_table([row])
    assert path in capsys.readouterr().out
