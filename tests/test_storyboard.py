"""Storyboards: what is refused and how it is told, files in and out, the schema."""

import json
import math
from dataclasses import fields

import pytest

from mlx_wan.errors import BadFileError, UsageError
from mlx_wan.studio.storyboard import ROLES, TRANSITIONS, Shot, Storyboard, TextBlock
from mlx_wan.studio.storyboard_file import (
    MAX_FILE_BYTES,
    load_storyboard,
    storyboard_schema,
    storyboard_yaml,
)

GOOD = {
    "format": "shorts",
    "duration": 10,
    "title": "Ünïcode: “quotes”, 人工知能 👩‍💻 and yes",
    "name": "a_short",
    "shots": [
        {"prompt": "slow blue waves", "duration": 3.33},
        {"prompt": "red rings", "duration": 3.34, "transition": "cut"},
        {"prompt": "a fox", "duration": 3.33, "image": "/tmp/fox.png"},
    ],
    "texts": [
        {"role": "hook", "text": "no", "start": 0, "end": 2.5},
        {"role": "cta", "text": "2026\nsecond line: # no comment", "start": 7.25, "end": 10},
    ],
}


def changed(**changes):
    return {k: v for k, v in (GOOD | changes).items() if v is not ...}


def one_shot(**changes):
    return changed(shots=[{"prompt": "waves", "duration": 10} | changes], texts=[])


def one_text(**changes):
    text = {"role": "hook", "text": "words", "start": 0, "end": 2} | changes
    return changed(texts=[{k: v for k, v in text.items() if v is not ...}])


def test_a_storyboard_goes_to_plain_data_and_back():
    board = Storyboard.from_dict(GOOD)
    assert board.to_dict() == GOOD
    assert Storyboard.from_dict(json.loads(json.dumps(board.to_dict()))) == board
    assert board.num_frames == 300 and board.format.width == 1080
    assert board.shots[1].transition == "cut" and board.shots[0].transition == "crossfade"


def test_yaml_and_json_files_load_to_the_same(tmp_path):
    board = Storyboard.from_dict(GOOD)
    (tmp_path / "board.yaml").write_text(storyboard_yaml(board), encoding="utf-8")
    (tmp_path / "board.json").write_text(json.dumps(GOOD), encoding="utf-8")
    (tmp_path / "bom.yml").write_bytes(b"\xef\xbb\xbf" + storyboard_yaml(board).encode())
    for name in ("board.yaml", "board.json", "bom.yml"):
        assert load_storyboard(tmp_path / name) == board
    assert "duration: 10\n" in storyboard_yaml(board)  # not 10.0: files are for people


def test_an_image_is_looked_for_beside_the_file(tmp_path):
    board = one_shot(image="fox.png")
    (tmp_path / "board.json").write_text(json.dumps(board))
    assert load_storyboard(tmp_path / "board.json").shots[0].image == str(tmp_path / "fox.png")


WRONG = {
    "shots last 10 s": changed(duration=12),
    "accepted: 1 to 600": changed(duration=0.5),
    "duration is nan": changed(duration=math.nan),
    "duration is inf": changed(duration=math.inf),
    "duration is 1000": changed(duration=10**400),  # no float holds it
    "duration is '10'": changed(duration="10"),
    "duration is True": changed(duration=True),
    "format is 'cinema'": changed(format="cinema"),
    "format is ['wide']": changed(format=["wide"]),
    "has no shots": changed(shots=...),
    "0 shots": changed(shots=[]),
    "shots is 'waves'": changed(shots="waves"),
    "shots[0] is 'waves'": changed(shots=["waves"]),
    "401 shots": changed(shots=[{"prompt": "waves", "duration": 0.5}] * 401),
    "has 'musik'": changed(musik="loud"),
    "name is '../up'": changed(name="../up"),
    "name is 'a:b'": changed(name="a:b"),
    "name is '.hidden'": changed(name=".hidden"),
    "name is 7": changed(name=7),
    "title is 7": changed(title=7),
    "shots[0]: prompt is empty": one_shot(prompt=" "),
    "shots[0]: prompt is 5": one_shot(prompt=5),
    "shots[0]: prompt contains a NUL": one_shot(prompt="a\0b"),
    "shots[0]: prompt is not valid Unicode": one_shot(prompt="\ud800"),
    "shots[0]: prompt has 20,001": one_shot(prompt="a" * 20_001),
    "shots[0]: a shot's duration is 0.1": one_shot(duration=0.1),
    "shots[0]: transition is 'wipe'": one_shot(transition="wipe"),
    "shots[0]: image is 3": one_shot(image=3),
    "shots[0] has 'camera'": one_shot(camera="pan"),
    "texts[0]: role is 'shout'": one_text(role="shout"),
    "texts[0]: text is 2026": one_text(text=2026),
    "texts[0]: text is empty": one_text(text=""),
    "texts[0]: a text's start is -1": one_text(start=-1),
    "the hook 'words' ends at 1 s and starts at 2": one_text(start=2, end=1),
    "ends at 12 s, after the video's 10": one_text(end=12),
    "texts[0] has no end": one_text(end=...),
    "the storyboard is [1]": [1],
    "the storyboard is None": None,
}


@pytest.mark.parametrize("told", WRONG)
def test_what_is_wrong_is_told_with_its_place(told):
    with pytest.raises(UsageError) as error:
        Storyboard.from_dict(WRONG[told])
    assert told in str(error.value)
    assert error.value.hint


def test_durations_add_up_to_half_a_frame():
    thirds = [{"prompt": "waves", "duration": 3.33}] * 3
    assert Storyboard.from_dict(changed(shots=thirds, texts=[], format="wide")).num_frames == 240
    with pytest.raises(UsageError):  # half of a 30th is less than the missing hundredth
        Storyboard.from_dict(changed(shots=[{"prompt": "w", "duration": 3.32}] * 3, texts=[]))


HOSTILE = {
    "aliases are not accepted": "a: &a [x, x]\nb: &b [*a, *a]\nshots: [*b, *b]",
    "appears twice": "format: wide\nformat: square",
    "could not determine a constructor": "title: !!python/object/apply:os.system ['true']",
    "nested too deeply": "shots: " + "[" * 20_000,
    "is not text": "? [a]\n: 1",
    "month must be in": "title: 2026-13-99",
    "special characters": "title: a\x01",
    "the storyboard is None": "",
    "the storyboard is 'words'": "words",
    "mapping values are not allowed": "a: b: c",
    "a number is too long (line 1": "duration: " + "9" * 5000,
    "a number is too long (line 2": "format: wide\nduration: 0x" + "f" * 9000,
    "merge keys are not accepted": "<<: {format: square}\nformat: wide",
}


@pytest.mark.parametrize("told", HOSTILE)
def test_hostile_yaml_is_refused(told, tmp_path):
    file = tmp_path / "board.yaml"
    file.write_text(HOSTILE[told])
    with pytest.raises(UsageError) as error:
        load_storyboard(file)
    assert told in str(error.value) and str(file) in str(error.value)


def test_files_that_are_no_text_are_refused(tmp_path):
    (tmp_path / "large.yaml").write_bytes(b"a" * (MAX_FILE_BYTES + 1))
    (tmp_path / "latin.yaml").write_bytes("Grüße".encode("latin-1"))
    (tmp_path / "bad.json").write_text('{"format": "wide", "duration": NaN}')
    (tmp_path / "twice.json").write_text('{"format": "wide", "format": "square"}')
    for name in ("large.yaml", "latin.yaml", "bad.json", "twice.json", "missing.yaml", "."):
        with pytest.raises((UsageError, BadFileError), match=name):
            load_storyboard(tmp_path / name)


def test_the_schema_knows_what_the_loader_knows():
    schema = storyboard_schema()
    assert schema["additionalProperties"] is False
    assert list(schema["properties"]) == ["format", "duration", "title", "name", "shots", "texts"]
    shot = schema["properties"]["shots"]["items"]
    assert list(shot["properties"]) == [field.name for field in fields(Shot)]
    assert shot["properties"]["transition"]["enum"] == list(TRANSITIONS)
    text = schema["properties"]["texts"]["items"]
    assert list(text["properties"]) == [field.name for field in fields(TextBlock)]
    assert text["properties"]["role"]["enum"] == list(ROLES)
    for part in (schema, shot, text):
        for name in part["required"]:
            data = GOOD if part is schema else GOOD["shots" if part is shot else "texts"][0]
            assert name in data
    for name, about in (schema["properties"] | shot["properties"] | text["properties"]).items():
        assert about.get("description") or name in ("shots", "texts")
