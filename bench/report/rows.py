"""The tables of figures: one row each, with its interval drawn and said."""

from collections.abc import Mapping, Sequence
from typing import Any

from .figures import OVERALL
from .markup import Markup, join, tag
from .verdict import percent, signed

Row = Mapping[str, Any]
_SCALE = 0.25  # at least so much of a standard deviation, or of time and memory, is shown
_WIDTH, _HEIGHT = 152, 22
_SHORT = 3  # characters of a unit that stands behind each value
MINUS = "\N{MINUS SIGN}"


def figures_table(rows: Sequence[Row], candidate: str, caption: str) -> Markup | None:
    """Rows of one kind; the plot's right side is better where there is a better."""
    if not rows:
        return None
    decided = any(row["p"] is not None for row in rows)
    names = ["", "A", candidate.upper(), "Difference", "95 % interval"]
    plot = f"{MINUS}  worse | better  +"
    headers = [tag("th", name, class_="number" if name else None, scope="col") for name in names]
    more = [tag("th", plot, scope="col"), tag("th", "Verdict", scope="col")] if decided else []
    scales = {ratio: _scale([row for row in rows if row["ratio"] == ratio]) for ratio in (0, 1)}
    body = [_row(row, candidate, scales[row["ratio"]], decided) for row in rows]
    table = tag(
        "table",
        tag("thead", tag("tr", *headers, *more)),
        tag("tbody", *body),
        class_="stack",
    )
    return join(tag("h3", caption), tag("div", table, class_="scroll"))


def gates_table(gates: Sequence[Row], candidate: str) -> Markup | None:
    """How many pairs failed each gate."""
    rows = []
    for gate in gates:
        a, b = gate["a_failed"], gate["b_failed"]
        state = ("worse", "\N{BLACK DOWN-POINTING TRIANGLE} more") if b > a else None
        state = ("better", "\N{BLACK UP-POINTING TRIANGLE} fewer") if b < a else state
        shown = (
            tag("span", state[1], class_=state[0])
            if state
            else tag("span", "same", class_="unclear")
        )
        rows.append(
            tag(
                "tr",
                tag("th", gate["name"].replace("_", " "), scope="row"),
                tag("td", f"{a} of {gate['pairs']}", class_="number", data_label="A"),
                tag("td", f"{b} of {gate['pairs']}", class_="number", data_label=candidate.upper()),
                tag("td", shown),
            )
        )
    if not rows:
        return None
    names = ["", "A", candidate.upper()]
    head = [tag("th", name, class_="number" if name else None, scope="col") for name in names]
    table = tag(
        "table",
        tag("thead", tag("tr", *head, tag("th", "", scope="col"))),
        tag("tbody", *rows),
        class_="stack",
    )
    return join(tag("h3", "Gates: pairs that failed"), tag("div", table, class_="scroll"))


def number(value: float | None) -> str:
    """Four digits, with a real minus."""
    if value is None:
        return "\N{EN DASH}"
    if value and not 1e-4 <= abs(value) < 1e7:
        return f"{value:.3e}".replace("-", MINUS)
    digits = 4 if abs(value) < 1000 else 6
    return f"{value:.{digits}g}".replace("-", MINUS)


def amount(value: float, unit: str) -> str:
    """A value with its unit; bytes as a person reads them."""
    if unit == "bytes":
        from mlx_wan.memory import format_bytes

        return format_bytes(int(value))
    return f"{number(value)} {unit}".strip()


def _row(row: Row, candidate: str, scale: float, decided: bool) -> Markup:
    ratio, overall = row["ratio"], row["name"] == OVERALL
    change = percent if ratio else signed
    known = row["low"] is not None
    interval = f"{change(row['low'])} to {change(row['high'])}" if known else "too few prompts"
    short = row["unit"] if len(row["unit"]) <= _SHORT or row["unit"] == "bytes" else ""
    unit = "" if overall else short
    sides = ["\N{EN DASH}"] * 2 if overall else [amount(row[side], unit) for side in ("a", "b")]
    difference = change(row["difference"]) + (" SD" if overall else "")
    cells = [
        tag("td", sides[0], class_="number", data_label="A"),
        tag("td", sides[1], class_="number", data_label=candidate.upper()),
        tag("td", difference, class_="number", data_label="Difference"),
        tag("td", interval, class_="number", data_label="95 % interval"),
    ]
    if decided:
        cells += [tag("td", _plot(row, scale)), tag("td", _state(row), data_label="Verdict")]
    arrow = {"higher": "higher is better", "lower": "lower is better"}.get(row["better"])
    words = [row["unit"] if not overall and not short else None, arrow if not overall else None]
    words.append("mean over prompts" if ratio else None)
    about = tag("span", ", ".join(filter(None, words)), class_="soft about")
    return tag(
        "tr",
        tag("th", row["name"].replace("_", " "), about, scope="row"),
        *cells,
        class_="overall" if overall else None,
    )


def _scale(rows: Sequence[Row]) -> float:
    """What the plots of some rows reach to on both sides."""
    return max([_SCALE, *(abs(end) for row in rows for end in _ends(row) if end is not None)])


def _state(row: Row) -> Markup:
    p = f"p {_p(row['p'])}" if row["p"] is not None else ""
    if row["clear"] == "better":
        return tag("span", "\N{BLACK UP-POINTING TRIANGLE} better", class_="better", title=p)
    if row["clear"] == "worse":
        return tag("span", "\N{BLACK DOWN-POINTING TRIANGLE} worse", class_="worse", title=p)
    return tag("span", "not clear", class_="unclear", title=p)


def _p(p: float) -> str:
    return f"= {p:.2g}" if p >= 0.001 else "< 0.001"


def _ends(row: Row) -> tuple[float | None, float | None, float | None]:
    """Mean, low and high on the plot, above 0 for better."""
    if not row["ratio"]:
        return row["effect"], row["effect_low"], row["effect_high"]
    if row["low"] is None:
        return None, None, None
    # the saving as a share of the larger one: -0.5 is half of it, +0.5 twice as much
    return tuple(-_share(row[name]) for name in ("difference", "high", "low"))  # type: ignore[return-value]


def _share(change: float) -> float:
    return change if change < 0 else change / (1 + change)


def _plot(row: Row, scale: float) -> Markup:
    mean, low, high = _ends(row)
    middle, height = _WIDTH / 2, _HEIGHT / 2

    def x(value: float) -> str:
        return f"{middle + value / scale * (middle - 6):.1f}"

    parts = [tag("line", x1=middle, x2=middle, y1=1, y2=_HEIGHT - 1, class_="zero")]
    if mean is not None and low is not None and high is not None:
        parts.append(tag("line", x1=x(low), x2=x(high), y1=height, y2=height, class_="whisker"))
        parts.append(tag("circle", cx=x(mean), cy=height, r=4.5, class_="dot"))
    return tag(
        "svg",
        join(*parts),
        viewBox=f"0 0 {_WIDTH} {_HEIGHT}",
        class_=f"plot {row['clear'] or ''}".strip(),
        aria_hidden="true",
    )
