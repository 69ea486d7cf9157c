"""Pictures by a language model: what of its answers is taken, and that nothing is downloaded."""

import json

import pytest

from mlx_wan.cli.main import run
from mlx_wan.errors import ModelError
from mlx_wan.studio.expand import expand, local_model, mlx_lm_generate, read_prompts
from mlx_wan.studio.templates import linkedin_storyboard

BOARD = linkedin_storyboard("Calm mornings", 9)
PROMPTS = ["a lake in the morning fog, slow push in", "pines in the mist, slow pan to the right"]


def answer(prompts) -> str:
    return json.dumps({"prompts": prompts})


def test_its_pictures_take_the_place_of_the_templates():
    asked = []

    def generate(instruction: str, question: str) -> str:
        asked.append((instruction, question))
        return answer(PROMPTS)

    made = expand(BOARD, "Calm mornings", generate)
    assert [shot.prompt for shot in made.shots] == PROMPTS
    assert [s.duration for s in made.shots] == [s.duration for s in BOARD.shots]
    assert made.texts == BOARD.texts and made.name == BOARD.name
    [(instruction, question)] = asked
    assert "exactly 2" in instruction and "Calm mornings" in question


def test_a_small_model_is_described_as_what_it_is():
    asked = []
    expand(BOARD, "Calm", lambda i, q: asked.append(i) or answer(PROMPTS), abstract=True)
    assert "orbs" in asked[0] and "orbs" not in _concrete_instruction()


def _concrete_instruction() -> str:
    asked = []
    expand(BOARD, "Calm", lambda i, q: asked.append(i) or answer(PROMPTS))
    return asked[0]


@pytest.mark.parametrize(
    "good",
    [
        answer(PROMPTS),
        f"```json\n{answer(PROMPTS)}\n```",
        f'<think>{{"prompts": []}} hm</think>\n{answer(PROMPTS)}',
        f"Here they are:\n{answer(PROMPTS)}\nEnjoy {{them}}!",
    ],
)
def test_answers_that_are_taken(good):
    assert read_prompts(good, 2) == PROMPTS


BAD = {
    "no JSON": "I would show a lake.",
    "not valid JSON": '{"prompts": ["a lake in the morning fog',
    '{"prompts": [texts]}': '{"shots": ["a lake in the morning fog"]}',
    "1 prompts, not 2": answer(PROMPTS[:1]),
    "4 characters": answer(["lake", PROMPTS[1]]),
    "2000 characters": answer(["a" * 2000, PROMPTS[1]]),
    "cannot be printed": answer(["a lake\x1b[31m in the morning fog", PROMPTS[1]]),
    "is not {": answer([7, PROMPTS[1]]),
    "it is not valid JSON": "{" * 100_000,
}


@pytest.mark.parametrize("told", BAD)
def test_unusable_answers_leave_the_templates_and_say_so(told):
    notes, asked = [], []

    def generate(instruction: str, question: str) -> str:
        asked.append(question)
        return BAD[told]

    assert expand(BOARD, "Calm mornings", generate, tell=notes.append) == BOARD
    assert len(asked) == 2 and told in asked[1]  # it was told what was wrong, once
    assert len(notes) == 1 and told in notes[0] and "templates" in notes[0]


def test_a_second_answer_is_taken():
    answers = iter(["nonsense", answer(PROMPTS)])
    made = expand(BOARD, "Calm mornings", lambda *_: next(answers))
    assert [shot.prompt for shot in made.shots] == PROMPTS


def test_nothing_is_downloaded(tmp_path, monkeypatch):
    monkeypatch.setenv("MLX_WAN_HOME", str(tmp_path))
    monkeypatch.delenv("MLX_WAN_LLM", raising=False)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    for name, told in (
        (None, "no language model is installed"),
        ("some/model", "not on this machine"),
        ("no--such/id", "no language model in"),
        (str(tmp_path / "missing"), "no language model in"),
    ):
        with pytest.raises(ModelError) as error:
            local_model(name)
        assert told in error.value.message and error.value.hint
    (tmp_path / "llm").mkdir()
    (tmp_path / "llm" / "config.json").write_text("{}")
    assert local_model() == tmp_path / "llm"
    monkeypatch.setenv("MLX_WAN_LLM", str(tmp_path / "gone"))
    with pytest.raises(ModelError):
        local_model()


def test_the_hub_is_only_asked_for_what_is_here(tmp_path, monkeypatch):
    import huggingface_hub

    asked = []

    def snapshot_download(name, **settings):
        asked.append((name, settings))
        return str(tmp_path)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    assert local_model("some/model") == tmp_path
    assert asked == [("some/model", {"local_files_only": True})]


def test_a_folder_that_is_no_model_is_told(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "nonsense"}')
    with pytest.raises(ModelError) as error:
        mlx_lm_generate(tmp_path, 2)
    assert "cannot be opened by mlx-lm" in error.value.message


def test_the_flag_asks_for_it_and_nothing_else_does(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("MLX_WAN_HOME", str(tmp_path))
    monkeypatch.delenv("MLX_WAN_LLM", raising=False)
    words = ["linkedin", "Calm mornings", "--print-storyboard", "--json"]
    assert run([*words, "--expand"]) == 1
    assert "no language model" in capsys.readouterr().err

    folder = tmp_path / "llm"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    from mlx_wan.studio import expand as module

    monkeypatch.setattr(module, "mlx_lm_generate", lambda *_: lambda *_: answer(PROMPTS))
    assert run(words) == 0
    plain = json.loads(capsys.readouterr().out)["storyboard"]["shots"]
    for flag in (["--expand"], ["--llm", str(folder)]):
        assert run([*words, *flag]) == 0
        out, err = capsys.readouterr()
        shots = json.loads(out)["storyboard"]["shots"]
        assert [shot["prompt"] for shot in shots] == PROMPTS != [s["prompt"] for s in plain]
        assert str(folder) in err
