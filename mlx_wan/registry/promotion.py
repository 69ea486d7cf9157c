"""The default model changes by evidence: a passed A/B report of these very weights."""

from pathlib import Path

from mlx_wan.errors import ModelError, UsageError
from mlx_wan.home import models_folder
from mlx_wan.loading import embedded_model, open_model
from mlx_wan.presets import EMBEDDED
from mlx_wan.settings import shown

from .content import MAX_TEXT, VERDICTS, Registry, is_name
from .recording import note
from .store import change_registry


def activate(name: str, force_reason: str | None = None) -> str:
    """Make a converted model the default; returns why it may be.

    Without an active model any may. Otherwise the newest A/B report of exactly these weights
    against exactly the active ones has to say PASS, unless `force_reason` says why it need not;
    that is kept in the history. Raises UsageError when the evidence is missing or says something
    else, ModelError when the model is not converted.
    """
    folder = model_folder(name)
    if folder is None:
        raise ModelError(
            f"{shown(name)} is not converted: it is not in {models_folder()}",
            f"`mlx-wan models download {name} --convert`, or `mlx-wan convert SOURCE "
            f"{models_folder() / name}`"
            if name.isprintable()
            else "`mlx-wan models list` shows the names",
        )
    fingerprint = open_model(folder).fingerprint
    with change_registry() as registry:
        if registry.active == name:
            return f"{name} is active already"
        if force_reason is not None:
            action, reason = "forced", force_reason.strip()
            if not reason.isprintable() or not 1 <= len(reason) <= MAX_TEXT:
                raise UsageError(
                    f"the reason to force it is {shown(reason)}",
                    f"accepted: 1 to {MAX_TEXT:,} characters on one line, for the history",
                )
        else:
            action, reason = "activated", _evidence(registry, name, fingerprint)
        note(registry, action, name, reason)
        registry.active = name
        return reason


def rollback() -> str:
    """Make the model active again that was before the last activation; returns its name.

    Each further call goes one step further back. Raises UsageError when there was none before, and
    ModelError when it is gone.
    """
    with change_registry() as registry:
        before = _before(registry)
        if before is None:
            raise UsageError("there was no other active model before", "`mlx-wan models history`")
        if model_folder(before) is None:
            raise ModelError(
                f"{before} was active before, and is gone from {models_folder()}",
                "convert it again, or activate another one",
            )
        note(registry, "rolled back", before, f"from {registry.active}")
        registry.active = before
        return before


def model_folder(name: str) -> Path | None:
    """The folder of a converted model of this name; None when there is none."""
    folder = models_folder() / name
    if is_name(name) and (folder / "config.json").is_file():
        return folder
    return embedded_model() if name == EMBEDDED else None


def _evidence(registry: Registry, name: str, fingerprint: str) -> str:
    """Why these weights may take the active ones' place, from the newest report about both."""
    active = registry.active
    current = None if active is None else model_folder(active)
    if active is None:
        return "no other model was active"
    if current is None:
        return f"the active {active} is gone, so nothing can be compared with it"
    against = open_model(current).fingerprint
    compare = f"`mlx-wan bench ab {active} {name}` compares them"
    how = f"{compare}; --force REASON activates it without"
    about = [item for item in registry.evidence if item["b"]["fingerprint"] == fingerprint]
    both = [item for item in about if item["a"]["fingerprint"] == against]
    if not both:
        if about:
            raise UsageError(f"{name} was compared, but not with the active {active}", how)
        old = any(item["b"]["model"] == name for item in registry.evidence)
        was = "was compared with other weights than it has now" if old else "was not compared yet"
        raise UsageError(f"{name} {was}", how)
    last = max(reversed(both), key=lambda item: item["finished"])  # of equal ones the last noted
    if last["verdict"] != VERDICTS[0]:
        raise UsageError(
            f"the comparison of {name} with {active} says {last['verdict']}",
            f"see {last['path']}; --force REASON activates it in spite of that",
        )
    return f"A/B against {active}: PASS, {last['finished']}, report {last['sha256'][:12]}"


def _before(registry: Registry) -> str | None:
    """What was active before what is active now; a rollback undoes one activation."""
    stack: list[str | None] = []
    for item in registry.history:
        if item["action"] == "rolled back":
            del stack[-1:]
        elif item["action"] != "removed":
            stack.append(item["previous"])
    return stack[-1] if stack else None
