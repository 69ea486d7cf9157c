"""What the conversion is told of a network's published files, and of a family of models.

Each family has a file here that fills these in; what works on them knows no family by name.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .axes import Reorder, Shape, same_order, same_shape
from .names import Names, Rows
from .settings import Settings, Shapes


def never(path: str) -> str | None:
    """Nothing but its tensors tells which preset a checkpoint is."""
    return None


@dataclass(frozen=True, kw_only=True)
class NetworkFormat:
    """One network's layouts: how it is recognised and how its tensors become ours.

    `layouts` are the columns of the rows, the first "ours"; `rows` may depend on which names, ours
    or foreign, there are. `signatures` are names of which one is enough to tell network and layout;
    where networks share them, `is_it` looks closer, and where nothing tells them apart a
    checkpoint is taken for both until a model calls for one.

    `sizes` gives the fields of the network's config from the shapes of our tensors, from those
    as they are in the file, and from the config.json beside it, which counts when it has one of
    the keys `telling`. Weights that match `quantized` are those that `--quantize` is about; those
    that match `exact` stay float32; with `as_published` the network keeps the published dtype.
    `dropped` gives the foreign names that are left out on purpose, with the reason. `relatives`
    (part of a name -> what has it) are networks that look alike and are refused. `halves` (a name
    -> prefix) tell the files of a network that was published in two, whose names lack that prefix.
    `tokenizer_from` is a repository that has the tokenizer of an encoder.
    """

    network: str
    what: str  # in messages
    layouts: tuple[str, ...]
    rows: Callable[[Names], Rows]
    signatures: Mapping[str, tuple[str, ...]]
    sizes: Callable[[Shapes, Shapes, Settings], dict[str, Any]]
    telling: tuple[str, ...] = ()
    is_it: Callable[[Names], bool] = lambda names: True
    layout: Callable[[str, Mapping[str, Shape]], str] = lambda layout, shapes: layout
    reorder: Callable[[str, Shape, str, Mapping[str, Any]], Reorder] = same_order
    foreign_shape: Callable[[str, Shape, str, Mapping[str, Any]], Shape] = same_shape
    quantized: str | None = None
    exact: str | None = None
    as_published: bool = False
    tokenizer_from: str | None = None
    dropped: Callable[[Names], dict[str, str]] = lambda names: {}
    relatives: Mapping[str, str] = field(default_factory=dict)
    halves: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Family:
    """Networks that make up the models of one family.

    `identify` tells which preset a transformer is by the path of its file. Where it
    does not, the first preset that the tensors fit is taken, unless they fit `only_by_name`.
    `split_files` are those files of ComfyUI's repositories that make a preset by themselves.
    """

    title: str  # what is supported, in messages
    formats: tuple[NetworkFormat, ...]
    identify: Callable[[str], str | None] = never
    only_by_name: bool = False
    split_files: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
