"""Which transformer is which expert, whether they belong together, and which model they make.

Tensors do not tell an expert for high noise from one for low noise; folders and files do.
"""

import re

from mlx_wan.errors import ModelError, UsageError
from mlx_wan.loading import published_config
from mlx_wan.presets import PRESETS, Preset
from mlx_wan.tensorfile import read_tensor

from .families import FORMATS, SUPPORTED, family_of
from .parts import Part, Parts

HIGH, LOW = "high_noise", "low_noise"


def find_experts(found: Parts, model: str | None) -> dict[str, Part]:
    """{"transformer": ...} or both experts by name.

    Raises ModelError when one is missing, given twice, or of another model.
    """
    transformers = _transformers(found, model)
    what = transformers[0].found.form.what
    roles = {part.path: _role(found, part) for part in transformers}
    if all(len(preset.experts) == 1 for part in transformers for preset in _fitting(part)):
        return {"transformer": found.one(transformers, transformers[0].network)}
    if len(transformers) == 1 and roles[transformers[0].path] is None:
        return {"transformer": transformers[0]}
    if None in roles.values():
        found.refuse_several(transformers, f"{what}s")
    experts = {
        role: [part for part in transformers if roles[part.path] == role] for role in (HIGH, LOW)
    }
    for role, other in ((HIGH, LOW), (LOW, HIGH)):
        if not experts[role] and (problem := found.problem({transformers[0].network})):
            raise problem
        if not experts[role]:
            raise ModelError(
                f"{found.root} has {found.names(experts[other])} for {_words(other)}, "
                f"but no transformer for {_words(role)}",
                "this model is two transformers; add the other one under its own name",
            )
        if len(experts[role]) > 1:
            found.refuse_several(experts[role], f"transformers for {_words(role)}")
    _refuse_mixed(found, experts[HIGH][0], experts[LOW][0])
    return {role: experts[role][0] for role in (HIGH, LOW)}


def _transformers(found: Parts, model: str | None) -> list[Part]:
    """The transformers of one family; of several models in one folder, those of `model`."""
    networks = {network for preset in PRESETS.values() for network in _networks(preset)}
    transformers = [part for part in found.parts if part.network in networks]
    if model is not None:
        own = [part for part in transformers if part.network in _networks(PRESETS[model])]
        if not own and not transformers:
            wanted = _networks(PRESETS[model])
            found.refuse_missing(" or ".join(FORMATS[n].what for n in wanted), wanted)
        transformers = own or transformers
        transformers = [p for p in transformers if PRESETS[model] in _fitting(p)] or transformers
        transformers = [p for p in transformers if _named(found, p) == model] or transformers
    elif not transformers:
        found.refuse_missing("transformer of a video model", networks)
    # networks that nothing is built for, such as those that only enlarge
    transformers = [part for part in transformers if _fitting(part)] or transformers
    if len({part.network for part in transformers}) > 1:
        found.refuse_several(transformers, "transformers")
    return transformers


def find_preset(found: Parts, experts: dict[str, Part], model: str | None) -> Preset:
    """The preset whose experts and channels these are; `model` chooses between several."""
    first = next(iter(experts.values()))
    fitting = [p for p in _fitting(first) if {e.name for e in p.experts} == set(experts)]
    number = "two experts" if len(experts) == 2 else "one transformer"
    given, produced = first.config.in_dim, first.config.out_dim
    what = f"{number} with {given} channels in and {produced} out"
    if not fitting:
        raise ModelError(f"{found.root} is no known model: it has {what}", f"{SUPPORTED} supported")
    said = _named(found, first)
    choices = " or ".join(preset.id for preset in fitting)
    if model is not None:
        if PRESETS[model] not in fitting:
            raise UsageError(
                f"{found.root} is not a {model}: it has {what}", f"--model {choices} would fit"
            )
        if said not in (None, model) and PRESETS.get(said or "") in fitting:
            raise UsageError(
                f"{found.names([first])} is {said} by its name, and --model says {model}",
                "leave --model out, or rename the file if its name is wrong",
            )
        return PRESETS[model]
    if said is not None and PRESETS.get(said) in fitting:
        return PRESETS[said]
    if len(fitting) > 1 and family_of(first.network).only_by_name:
        raise ModelError(
            f"{found.names([first])} could be any of {len(fitting)} models with the same tensors, "
            "and its name does not say which",
            f"say it with --model: {choices}",
        )
    return fitting[0]


def _fitting(part: Part) -> list[Preset]:
    """The presets with an expert of this network that takes and makes as many channels."""
    return [
        preset
        for preset in PRESETS.values()
        if part.network in _networks(preset) and _is_like(part, preset)
    ]


def _is_like(part: Part, preset: Preset) -> bool:
    """Takes and makes as many channels, and has what only some of its kind have."""
    published = published_config(preset, preset.experts[0].name)
    names = {name for name, value in vars(published).items() if isinstance(value, bool)}
    return all(
        getattr(part.config, name, None) == getattr(published, name)
        for name in {"in_dim", "out_dim"} | names
    )


def _networks(preset: Preset) -> set[str]:
    return {preset.components[expert.name][0] for expert in preset.experts}


def _named(found: Parts, part: Part) -> str | None:
    """The preset that the name of a transformer's file or folders says it is."""
    return family_of(part.network).identify(str(part.path))


def _words(role: str) -> str:
    return role.replace("_", " ")


def _role(found: Parts, part: Part) -> str | None:
    relative = found.discovery.relative(part.path)
    folder = part.path.parent
    if part.found.layout == "diffusers":
        if folder.name == "transformer_2":
            return LOW
        if folder.name == "transformer":
            return HIGH if (folder.parent / "transformer_2").is_dir() else None
    said = set()
    for name in relative.lower().split("/"):
        words = set(re.split(r"[^a-z]+", name))
        high, low = bool(words & {"high", "highnoise"}), bool(words & {"low", "lownoise"})
        if high != low:
            said.add(HIGH if high else LOW)
    if len(said) > 1:
        raise ModelError(
            f"{relative} has both high noise and low noise in its name",
            "one of its folders or the file is misnamed, or the file is in the wrong place",
        )
    return said.pop() if said else None


def _refuse_mixed(found: Parts, high: Part, low: Part) -> None:
    if high.config == low.config:
        return
    theirs = vars(low.config)
    different = [
        f"{name} is {value} and {theirs[name]}"
        for name, value in vars(high.config).items()
        if value != theirs[name]
    ]
    raise ModelError(
        f"{found.names([high, low])} are experts of different models: {', '.join(different)}",
        "take both from one release; in_dim is 36 for image to video and 16 for text to video",
    )


def refuse_twins(found: Parts, experts: dict[str, Part], preset: Preset) -> None:
    """Raise ModelError when one expert is there under both names (wan-mini may have that)."""
    if len(experts) == 2 and preset.id != "wan-mini" and _same_weights(*experts.values()):
        raise ModelError(
            f"{found.names(list(experts.values()))} hold the same weights: one expert is there "
            "twice",
            "download the other one; a small model whose experts really are equal converts with "
            "--model wan-mini",
        )


def _same_weights(first: Part, second: Part) -> bool:
    """Whether every tensor begins with the same bytes; different training changes all of them."""
    for name, place in first.found.tensors.items():
        other = second.found.tensors[name]
        if other.info.dtype != place.info.dtype:
            return False
        ours, theirs = (
            read_tensor(at.file, at.info).reshape(-1)[:1024].tobytes() for at in (place, other)
        )
        if ours != theirs:
            return False
    return True
