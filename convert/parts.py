"""The networks found in a source, with their sizes, and what to say when one is not there."""

from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from mlx_wan.errors import BadFileError, MlxWanError, ModelError

from .axes import Reorder
from .discover import Checkpoint, Discovery, read_json
from .families import FORMATS, SUPPORTED
from .recognise import Network, is_lora, layouts_of, read_as, stranger
from .sizes import expected_shapes, network_config

FLOATS = ("F32", "F16", "BF16", "F8_E4M3", "F8_E5M2")


@dataclass(frozen=True)
class Part:
    """A network of the model with its config dataclass and how each tensor's axes change."""

    found: Network
    config: Any
    reorders: dict[str, Reorder]

    @property
    def network(self) -> str:
        return self.found.network

    @property
    def path(self) -> Path:
        return self.found.checkpoint.path


@dataclass
class Parts:
    """Everything a source holds that could be part of a model."""

    discovery: Discovery
    parts: list[Part] = field(default_factory=list)
    others: dict[Path, str] = field(default_factory=dict)  # what else there is
    # with the network they are about, where that is known
    problems: list[tuple[str | None, MlxWanError]] = field(default_factory=list)
    settings_files: list[Path] = field(default_factory=list)  # each config.json that was used

    @property
    def root(self) -> Path:
        return self.discovery.root

    def of(self, network: str) -> list[Part]:
        return [part for part in self.parts if part.network == network]

    def names(self, parts: list[Part]) -> str:
        return " and ".join(self.discovery.relative(part.path) for part in parts)

    def problem(self, networks: Collection[str]) -> MlxWanError | None:
        """Why one of these networks may not be among the parts."""
        own = [error for network, error in self.problems if network in networks]
        return next(iter(own + [error for network, error in self.problems if not network]), None)

    def one(self, parts: list[Part], network: str) -> Part:
        """The only one of `parts`. Raises ModelError when there is none, or a choice."""
        what = FORMATS[network].what
        if not parts:
            self.refuse_missing(what, [network])
        if len(parts) > 1:
            self.refuse_several(parts, f"{what}s")
        return parts[0]

    def refuse_missing(self, what: str, networks: Collection[str]) -> NoReturn:
        """Say what was seen instead; a file that could not be read explains it best."""
        if problem := self.problem(networks):
            raise problem
        if any((self.root / ".cache" / "huggingface").rglob("*.incomplete")):
            raise ModelError(
                f"{self.root} has no {what}; its download was interrupted", "resume it"
            )
        seen = [f"{self.discovery.relative(path)} is {kind}" for path, kind in self.others.items()]
        seen += [f"{self.names([part])} is a {part.found.form.what}" for part in self.parts]
        seen += [f"{self.discovery.relative(p)} is not read" for p in self.discovery.unreadable]
        hint = f"{SUPPORTED} supported, each with its VAE, text encoders and tokenizer"
        if "a LoRA" in self.others.values() and not self.parts:
            hint = "a LoRA is added to a model when generating; convert the model it is made for"
        raise ModelError("; ".join([f"{self.root} has no {what}", *seen[:4]]), hint)

    def refuse_several(self, parts: list[Part], what: str) -> NoReturn:
        raise ModelError(
            f"{self.root} has several {what}: {self.names(parts)}",
            "give a folder with the files of one model; two experts have high and low in their "
            "names; --model chooses between models",
        )


def find_parts(discovery: Discovery) -> Parts:
    """Recognise all checkpoints and read their sizes; what fails is kept as a problem."""
    found = Parts(discovery, problems=[(None, error) for error in discovery.problems])
    for checkpoint in _joined(found):
        if is_lora(checkpoint):
            found.others[checkpoint.path] = "a LoRA"
            continue
        layouts = layouts_of(checkpoint)
        if not layouts:
            found.others[checkpoint.path] = stranger(checkpoint)
        for network, layout in layouts.items():
            try:
                found.parts.append(
                    _part(read_as(network, layout, checkpoint), found.settings_files)
                )
            except MlxWanError as error:
                found.problems.append((network, error))
    return found


def _joined(found: Parts) -> list[Checkpoint]:
    """The checkpoints, where those of a network that was published in two files are one."""
    joined: list[Checkpoint] = []
    halves: dict[tuple[str, Path], list[tuple[str, Checkpoint]]] = {}
    for checkpoint in found.discovery.checkpoints:
        place = _half(checkpoint)
        if place is None:
            joined.append(checkpoint)
        else:
            network, prefix = place
            halves.setdefault((network, checkpoint.folder), []).append((prefix, checkpoint))
    for (network, _), parts in halves.items():
        form, prefixes = FORMATS[network], sorted(prefix for prefix, _ in parts)
        names = " and ".join(found.discovery.relative(one.path) for _, one in parts)
        if prefixes != sorted(form.halves.values()):
            wanted = " and ".join(prefix.removesuffix(".") for prefix in form.halves.values())
            halved = " and ".join(prefix.removesuffix(".") for prefix in prefixes)
            problem = ModelError(
                f"{found.root} has of a {form.what} {names}: {halved}",
                f"it needs one file of each half in one folder: {wanted}",
            )
            found.problems.append((network, problem))
            continue
        tensors = {
            prefix + name: place for prefix, one in parts for name, place in one.tensors.items()
        }
        files = tuple(file for _, one in parts for file in one.files)
        joined.append(Checkpoint(parts[0][1].path, tensors, files))
    return joined


def _half(checkpoint: Checkpoint) -> tuple[str, str] | None:
    """(network, prefix its names lack) of one of the files of a network."""
    for network, form in FORMATS.items():
        for sign, prefix in form.halves.items():
            if sign in checkpoint.tensors:
                return network, prefix
    return None


def _part(found: Network, settings_files: list[Path]) -> Part:
    file = found.checkpoint.folder / "config.json"
    settings = read_json(file) if file.is_file() else {}
    if not any(key in settings for key in found.form.telling):
        settings = {}
    elif file not in settings_files:
        settings_files.append(file)
    reorders = {
        name: found.form.reorder(name, place.info.shape, found.layout, settings)
        for name, place in found.tensors.items()
    }
    shapes = {name: order.shape for name, order in reorders.items()}
    stored = {name: place.info.shape for name, place in found.tensors.items()}
    where = str(found.checkpoint.path)
    part = Part(found, network_config(found.network, shapes, stored, settings, where), reorders)
    _check_tensors(part)
    return part


def _check_tensors(part: Part) -> None:
    """Every tensor the network has must be there, in its shape and in a dtype we can convert."""
    expected = expected_shapes(part.network, part.config)
    tensors = part.found.tensors
    missing = sorted(expected.keys() - tensors.keys())
    extra = sorted(tensors.keys() - expected.keys())
    if missing:
        raise BadFileError(
            f"{part.path} lacks {len(missing)} of {len(expected)} tensors of a {part.network}, "
            f"the first is {missing[0]}",
            "download it again; this copy is incomplete",
        )
    if extra:
        raise BadFileError(
            f"{part.path} has {extra[0]}, which a {part.network} of its size has not"
        )
    for name, shape in expected.items():
        place = tensors[name]
        if part.reorders[name].shape != shape:
            raise BadFileError(
                f"{place.file} has {place.key} in shape {list(place.info.shape)}, which does not "
                f"fit a {part.network} of its size"
            )
        if place.info.dtype not in FLOATS:
            raise BadFileError(
                f"{place.file} has {place.key} in {place.info.dtype}",
                f"weights are read in {', '.join(FLOATS)}",
            )
