"""The families whose checkpoints are read. Their order is that of recognition."""

from collections.abc import Iterable, Mapping
from typing import Any

from . import hunyuan, mochi, names, wan
from .axes import Shape
from .format import Family, NetworkFormat
from .names import Share

FAMILIES: tuple[Family, ...] = (wan.FAMILY, mochi.FAMILY, hunyuan.FAMILY)
FORMATS: dict[str, NetworkFormat] = {
    one.network: one for family in FAMILIES for one in family.formats
}
SUPPORTED = ", ".join(family.title for family in FAMILIES) + " are"


def family_of(network: str) -> Family:
    """The family a network belongs to."""
    return next(f for f in FAMILIES if FORMATS[network] in f.formats)


def to_ours(network: str, layout: str, theirs: Iterable[str]) -> dict[str, list[str]]:
    """Foreign name -> our names in the order of its rows, for those the network has."""
    form, theirs = FORMATS[network], list(theirs)
    return names.to_ours(form.rows(theirs), form.layouts.index(layout), theirs)


def from_ours(network: str, layout: str, ours: Iterable[str]) -> dict[str, Share]:
    """Our name -> where that tensor is in this layout."""
    form, ours = FORMATS[network], list(ours)
    return names.from_ours(form.rows(ours), form.layouts.index(layout), ours)


def foreign_shapes(
    network: str,
    layout: str,
    shapes: Mapping[str, Shape],
    settings: Mapping[str, Any] | None = None,
) -> dict[str, Shape]:
    """Every tensor of a layout with its shape, from ours."""
    found: dict[str, Shape] = {}
    for name, share in from_ours(network, layout, shapes).items():
        shape = FORMATS[network].foreign_shape(name, shapes[name], layout, settings or {})
        found[share.name] = (share.of * shape[0], *shape[1:]) if share.of > 1 else shape
    return found
