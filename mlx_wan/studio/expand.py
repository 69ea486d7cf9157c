"""Pictures for a topic by a language model on this machine, through mlx-lm. Only when asked for.

Nothing is downloaded: the model is a folder, or was fetched into the hub's cache before.
"""

import json
import os
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from mlx_wan.errors import MlxWanError, ModelError
from mlx_wan.home import expanded, home

from .storyboard import Storyboard

Generate = Callable[[str, str], str]  # (instruction, question) -> what the model answers

ATTEMPTS = 2
_SHORTEST, _LONGEST = 15, 900  # characters of a prompt
_MAX_ANSWER = 200_000
_MAX_TOKENS_EACH = 220

_CONCRETE = """\
You write prompts for a video model. For each shot write one concrete picture that moves: what is \
seen, how it moves, the light, and a slow camera. One mood and one palette for all shots. Words \
are laid over the pictures later, so the middle stays calm. Never ask for letters, numbers, logos, \
screens with content, or known people."""
_ABSTRACT = """\
You write prompts for a small video model that only knows soft abstract motion. Each prompt is one \
line: [slow] [colour] [motif] [movement], on a [background] background. Motifs: orbs, particles, \
layered waves, light sweep, aurora, rings, soft gradient. Colours: red, orange, yellow, green, \
teal, blue, purple, pink, white. Backgrounds: black, navy, charcoal, plum, forest, deep teal, \
maroon. Movements: drifting upward, moving left, moving right, expanding, morphing. One background \
for all shots."""
_FORM = 'Answer with JSON alone: {{"prompts": ["...", ...]}} with exactly {count} English prompts.'


def expand(
    storyboard: Storyboard,
    topic: str,
    generate: Generate,
    *,
    abstract: bool = False,
    tell: Callable[[str], None] = lambda _: None,
) -> Storyboard:
    """The storyboard with pictures from a language model.

    Where its answers cannot be used, the pictures stay as they are, and `tell` hears of it.
    """
    count = len(storyboard.shots)
    instruction = f"{_ABSTRACT if abstract else _CONCRETE} {_FORM.format(count=count)}"
    problem = ""
    for _ in range(ATTEMPTS):
        question = _question(storyboard, topic)
        if problem:
            form = _FORM.format(count=count)
            question += f"\n\nYour last answer could not be used: {problem}. {form}"
        try:
            prompts = read_prompts(generate(instruction, question), count)
            shots = (
                replace(shot, prompt=prompt)
                for shot, prompt in zip(storyboard.shots, prompts, strict=True)
            )
            return replace(storyboard, shots=tuple(shots))
        except (ValueError, MlxWanError) as error:
            problem = str(error)
    tell(f"the language model gave no usable prompts ({problem}); the templates' are used")
    return storyboard


def read_prompts(answer: str, count: int) -> list[str]:
    """Exactly `count` prompts from a model's answer. Raises ValueError saying what is wrong.

    Thoughts before the JSON and a fence around it are passed over; nothing else is mended.
    """
    answer = re.sub(r"<think>.*?</think>", "", answer[:_MAX_ANSWER], flags=re.S)
    start = answer.find("{")
    if start < 0:
        raise ValueError("there is no JSON in it")
    try:
        data, _ = json.JSONDecoder().raw_decode(answer[start:])
    except (ValueError, RecursionError):
        raise ValueError("it is not valid JSON") from None
    prompts = data.get("prompts") if isinstance(data, dict) and len(data) == 1 else None
    if not isinstance(prompts, list) or not all(isinstance(one, str) for one in prompts):
        raise ValueError('it is not {"prompts": [texts]}')
    if len(prompts) != count:
        raise ValueError(f"it has {len(prompts)} prompts, not {count}")
    prompts = [" ".join(one.split()) for one in prompts]
    for one in prompts:
        if not _SHORTEST <= len(one) <= _LONGEST:
            raise ValueError(f"a prompt has {len(one)} characters, not {_SHORTEST} to {_LONGEST}")
        if not all(character.isprintable() for character in one):
            raise ValueError("a prompt has characters that cannot be printed")
    return prompts


def local_model(name: str | None = None) -> Path:
    """The folder of a language model: a path, a hub id that is in the cache already, or the
    default: MLX_WAN_LLM, else MLX_WAN_HOME/llm. Raises ModelError when it is not there."""
    wanted = name or os.environ.get("MLX_WAN_LLM")
    folder = expanded(wanted) if wanted else home() / "llm"
    if (folder / "config.json").is_file():
        return folder
    if wanted is None:
        raise ModelError(
            f"no language model is installed for --expand in {folder}",
            "give one with --llm: a folder that mlx-lm reads, or the id of a downloaded one",
        )
    if re.fullmatch(r"[\w.-]+/[\w.-]+", wanted):
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

        try:
            return Path(snapshot_download(wanted, local_files_only=True))
        except LocalEntryNotFoundError:
            raise ModelError(
                f"the language model {wanted} is not on this machine",
                f"nothing is downloaded unasked; fetch it with `hf download {wanted}`",
            ) from None
        except HFValidationError:
            pass  # no id either
    raise ModelError(
        f"there is no language model in {folder}: it has no config.json",
        "give a folder that mlx-lm reads, or the id of a downloaded model",
    )


def mlx_lm_generate(folder: Path, shots: int) -> Generate:
    """Answers by the language model in `folder`. Raises ModelError when it cannot be opened."""
    try:
        import mlx_lm
    except ImportError as error:
        raise ModelError(
            f"mlx-lm cannot be used: {error}", "install it with `pip install mlx-lm`"
        ) from None
    loaded: Any = None
    try:
        loaded = mlx_lm.load(str(folder), tokenizer_config={"trust_remote_code": False})
    except Exception as error:  # whatever it and transformers raise for a foreign folder
        raise ModelError(
            f"{folder} cannot be opened by mlx-lm: {type(error).__name__}: {error}",
            "give another --llm",
        ) from None
    model, tokenizer = loaded[0], loaded[1]

    def answer(instruction: str, question: str) -> str:
        prompt: Any = f"{instruction}\n\n{question}\n"
        if tokenizer.has_chat_template:
            messages = [{"role": "user", "content": f"{instruction}\n\n{question}"}]
            prompt = tokenizer.apply_chat_template(
                messages, add_generation_prompt=True, enable_thinking=False
            )
        longest = 400 + _MAX_TOKENS_EACH * shots
        return mlx_lm.generate(model, tokenizer, prompt, max_tokens=longest)

    return answer


def _question(storyboard: Storyboard, topic: str) -> str:
    lines = [f"Topic: {topic}", f"Format: {storyboard.format.title}", "Shots:"]
    starts = 0.0
    for number, shot in enumerate(storyboard.shots, 1):
        said = _said(storyboard, starts, starts + shot.duration)
        words = f', over which stands "{said}"' if said else ""
        lines.append(f"{number}. {shot.duration:g} seconds{words}")
        starts += shot.duration
    return "\n".join(lines)


def _said(storyboard: Storyboard, start: float, end: float) -> str:
    middle = (start + end) / 2
    return " ".join(text.text for text in storyboard.texts if text.start <= middle < text.end)
