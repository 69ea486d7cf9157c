"""How models look on a terminal. Names and notes come from files: no markup, no codes."""

from typing import TYPE_CHECKING, Any

from .library_tables import console, plain, size_text

if TYPE_CHECKING:
    from mlx_wan.registry.catalogue import KnownModel, Source
    from mlx_wan.registry.status import ModelStatus

_STYLES = {
    "active": "bold green",
    "converted": "green",
    "downloaded": "cyan",
    "known": "dim",
    "missing": "bold red",
    "broken": "bold red",
}

_NARROW = {"model": 26, "VBench": 6, "licence": 11, "state": 10}  # all of it in 80 columns


def print_models(found: "list[ModelStatus]") -> None:
    """One line each; a star marks the active one."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for name in ("", "model", "size", "VBench", "licence", "speed", "state"):
        # a narrow terminal breaks lines of texts; numbers are never cut
        table.add_column(
            name,
            no_wrap=name in ("", "size", "speed"),
            justify="right" if name == "size" else "left",
            overflow="fold",
            max_width=_NARROW.get(name) if console().width < 110 else None,
        )
    for status in found:
        known = status.known
        style = _STYLES[status.state]
        table.add_row(
            Text("*" if status.state == "active" else "", style=style),
            Text(plain(status.name), style="bold" if status.state == "active" else ""),
            count_text(known.parameters if known else None),
            score_text(status),
            plain(license_text(status)),
            speed_text(status),
            Text(_state(status), style=style),
        )
    console().print(table)
    if any(score_text(status).endswith("?") for status in found):
        console().print("?: stated, no publication found", style="dim")
    for status in found:
        if status.problem:
            console().print(Text(f"{plain(status.name)}: {plain(status.problem)}", style="red"))


def print_model(status: "ModelStatus", evidence: list[dict[str, Any]]) -> None:
    from rich.table import Table
    from rich.text import Text

    known = status.known
    rows = {"id": status.name, "state": _state(status), "problem": status.problem or ""}
    if known:
        rows |= {
            "name": f"{known.name}, version {known.version}" if known.version else known.name,
            "makes": known.task,
            "parameters": count_text(known.parameters),
            "architecture": known.architecture,
            "licence": "\n".join(_licenses(known)),
            "source": "\n".join(map(_source, known.sources)),
            "download": size_text(known.size) if known.size else "",
            "defaults": ", ".join(f"{key} {value}" for key, value in known.defaults.items()),
            "largest network": ", ".join(
                f"{precision} {size_text(size)}" for precision, size in known.minimum_memory.items()
            ),
            "score": score_text(status, whole=True),
            "few steps": known.distilled or "",
            "belongs to": known.base or "",
            "in this version": "" if known.preset else "its network is not built yet",
        }
    elif status.made_from:
        rows |= {
            "made from": f"{status.made_from.name} ({status.made_from.id})",
            "licence": "\n".join(_licenses(status.made_from)),
        }
    rows |= {
        "folder": str(status.folder) if status.folder else "",
        "on disk": f"{size_text(status.bytes_on_disk)}, {status.precision}"
        if status.bytes_on_disk
        else "",
        "fingerprint": status.fingerprint or "",
        "measured": speed_text(status) if status.benchmarks else "nothing yet",
        "compared": "\n".join(
            f"{item['finished']}: {item['b']['model']} against {item['a']['model']}: "
            f"{item['verdict']}"
            for item in evidence
        ),
    }
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for label, text in rows.items():
        if text:
            table.add_row(label, Text("\n".join(map(plain, text.split("\n")))))
    console().print(table)


def _licenses(known: "KnownModel") -> list[str]:
    """Each licence with what it is of, where there are several, and its restrictions below."""
    lines = []
    for licence, repos in known.licenses.items():
        of = f" ({', '.join(repos)})" if len(known.licenses) > 1 and repos else ""
        lines.append(f"{licence.name} {licence.url}".strip() + of)
        if licence.restrictions:
            lines.append(licence.restrictions)
    return lines


def _source(source: "Source") -> str:
    """A repository and its commit; nothing for models that come from none."""
    if not source.repo:
        return ""
    at = source.revision or "its newest commit, which is recorded"
    return f"{source.repo} at {at}" + (", gated" if source.gated else "")


def print_history(entries: list[dict[str, Any]]) -> None:
    """The newest first."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for name in ("when", "what", "model", "before", "why"):
        table.add_column(name, no_wrap=name != "why", overflow="fold")
    for item in reversed(entries):
        texts = (item["time"], item["action"], item["model"], item["previous"], item["reason"])
        table.add_row(*(Text(plain(text or "")) for text in texts))
    console().print(table)


def count_text(count: int | None) -> str:
    """14.3 B, 1.6 M."""
    if count is None:
        return ""
    for size, unit in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return str(count)


def score_text(status: "ModelStatus", whole: bool = False) -> str:
    """A published score; marked when it was stated without a publication."""
    score = status.known.quality_score if status.known else None
    if score is None:
        stated = (status.about or {}).get("quality_score")
        mark = " as stated" if whole else "?"
        return f"{stated:g}{mark}" if isinstance(stated, int | float) else ""
    if not whole:
        return f"{score.value:.1f}" + ("?" if score.as_stated else "")
    text = f"{score.value:.1f}" + (" as stated" if score.as_stated else "")
    return f"{score.metric} {text} ({score.source}{', ' + score.date if score.date else ''})"


def license_text(status: "ModelStatus") -> str:
    known = status.known or status.made_from
    if not known:
        return ""
    license = known.license
    restricted = any(one.restrictions for one in known.licenses)
    return (license.short or license.name[:24]) + (", restricted" if restricted else "")


def speed_text(status: "ModelStatus") -> str:
    """The last measured figure; nothing while none was measured."""
    for figures in reversed(status.benchmarks):
        value = figures.get("seconds_per_step")
        if isinstance(value, int | float) and not isinstance(value, bool):
            return f"{value:.3g} s a step"
    return ""


def _state(status: "ModelStatus") -> str:
    if status.precision and status.state in ("active", "converted"):
        return f"{status.state}, {status.precision}"
    return status.state
