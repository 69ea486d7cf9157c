"""What the compared models are asked for: 24 built-in prompts, or a person's own file.

The built-in ones are balanced: eight for each message density, every motif wan-mini knows in all
three, light and dark, each direction, and real subjects of business posts.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlx_wan.errors import UsageError
from mlx_wan.settings import shown
from mlx_wan.studio.profiles import PROFILES, choose_quality

BUILT_IN = Path(__file__).with_name("prompts.json")
MAX_PROMPTS = 500
ID = re.compile(r"[a-z0-9_]{1,40}")  # it becomes a part of folder names
ACCEPTED = (
    'one prompt per line, or a JSON or YAML list of texts or of {"id", "text", "density"}, '
    f"with density one of {', '.join(PROFILES)}"
)


@dataclass(frozen=True)
class Prompt:
    """`density` says how much the message holds: the quality profile that suits it."""

    id: str
    text: str
    density: str


def read_prompts(file: Path | None = None, limit: int | None = None) -> tuple[Prompt, ...]:
    """The prompts of a file, or the built-in ones; the first `limit` of them.

    Of built-in ones any first 3n hold n of each density. Raises UsageError.
    """
    from mlx_wan.studio.storyboard_file import read_data, read_text

    path = BUILT_IN if file is None else file
    if path.suffix.lower() in (".json", ".yaml", ".yml"):
        entries = read_data(path)
    else:
        entries = [line.strip() for line in read_text(path).splitlines()]
        entries = [line for line in entries if line and not line.startswith("#")]
    prompts = check_prompts(entries, str(path))
    _check_apart(prompts, str(path))
    if limit is not None and not 1 <= limit <= len(prompts):
        raise UsageError(
            f"num_prompts is {limit}; {path.name} has {len(prompts)} prompts",
            f"accepted: 1 to {len(prompts)}",
        )
    return prompts[:limit]


def check_prompts(entries: Any, where: str) -> tuple[Prompt, ...]:
    """Prompts of plain data, each with an id of its own. Raises UsageError naming the entry."""
    if not isinstance(entries, list) or not entries:
        raise UsageError(f"{where} holds no list of prompts", f"accepted: {ACCEPTED}")
    if len(entries) > MAX_PROMPTS:
        raise UsageError(f"{where} has {len(entries):,} prompts", f"{MAX_PROMPTS} are the limit")
    prompts: dict[str, Prompt] = {}
    for number, entry in enumerate(entries, 1):
        prompt = _prompt(entry, number, f"{where}, prompt {number}")
        if prompt.id in prompts:
            raise UsageError(f"{where} has two prompts with the id {prompt.id}", "rename one")
        prompts[prompt.id] = prompt
    return tuple(prompts.values())


def _check_apart(prompts: Sequence[Prompt], where: str) -> None:
    """The same text twice would count as two prompts, and so as more evidence than it is."""
    seen: dict[str, int] = {}
    for number, prompt in enumerate(prompts, 1):
        first = seen.setdefault(" ".join(prompt.text.split()), number)
        if first != number:
            raise UsageError(
                f"{where}: prompts {first} and {number} are the same",
                "leave one out; --seeds makes more videos of a prompt",
            )


def _prompt(entry: Any, number: int, where: str) -> Prompt:
    from mlx_wan.request import Request

    if isinstance(entry, str):
        entry = {"text": entry}
    if not isinstance(entry, dict) or not entry.keys() <= {"id", "text", "density"}:
        raise UsageError(f"{where} is {shown(entry)}", f"accepted: {ACCEPTED}")
    text: Any = entry.get("text")
    try:
        Request(text)  # checks it
    except UsageError as error:
        raise UsageError(f"{where}: {error.message}", error.hint) from None
    id, density = entry.get("id", f"p{number:02}"), entry.get("density")
    if not isinstance(id, str) or not ID.fullmatch(id):
        raise UsageError(f"{where} has the id {shown(id)}", "accepted: up to 40 of a-z, 0-9 and _")
    if density is None:
        density = choose_quality(text).profile.name
    if not isinstance(density, str) or density not in PROFILES:
        raise UsageError(
            f"{where} has the density {shown(density)}", f"accepted: {', '.join(PROFILES)}"
        )
    return Prompt(id, text, density)
