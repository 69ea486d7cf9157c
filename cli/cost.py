"""`mlx-wan cost`: seconds, energy and money of finished videos, beside what clouds charge."""

import json
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlx_wan.errors import MlxWanError, UsageError

from .library_tables import plain
from .options import Json, takes
from .planned import record_file
from .tables import print_table

if TYPE_CHECKING:
    from mlx_wan.cost.inputs import Inputs
    from mlx_wan.cost.prices import Prices
    from mlx_wan.cost.reckon import Bill, Cost

_INPUTS = "Your own figures (also under cost in config.toml)"
INPUTS: dict[str, Any] = {
    "currency": Annotated[
        str | None,
        typer.Option(help="Of tariff and purchase. Default: USD.", rich_help_panel=_INPUTS),
    ],
    "tariff": Annotated[
        float | None, typer.Option(help="Electricity for a kWh.", rich_help_panel=_INPUTS)
    ],
    "watts": Annotated[
        float | None,
        typer.Option(
            help="Watts from the wall while generating, as you measured them; used where the "
            "energy of a video was not measured.",
            rich_help_panel=_INPUTS,
        ),
    ],
    "wall_factor": Annotated[
        float | None,
        typer.Option(
            help="Power from the wall for each watt of the chip. Default: 1.",
            rich_help_panel=_INPUTS,
        ),
    ],
    "purchase_price": Annotated[
        float | None, typer.Option(help="What the machine cost.", rich_help_panel=_INPUTS)
    ],
    "life_years": Annotated[
        float | None,
        typer.Option(help="Years it is to last. Default: 3.", rich_help_panel=_INPUTS),
    ],
    "hours_per_day": Annotated[
        float | None,
        typer.Option(
            help="Hours a day it is in use. Default: 8, a working day.", rich_help_panel=_INPUTS
        ),
    ],
}


@takes(INPUTS)
def cost(
    flags: dict[str, Any],
    id: Annotated[
        str | None,
        typer.Argument(metavar="ID", help="A video's id in the library, or its JSON record."),
    ] = None,
    all_videos: Annotated[
        bool, typer.Option("--all", help="The whole library, rejected videos counted.")
    ] = False,
    prices: Annotated[
        Path | None, typer.Option(help="Your own table of cloud prices, a JSON file.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Print what videos cost here, energy and depreciation apart, beside dated cloud prices.

    What is not known is left out, never guessed: give --tariff and
    --purchase-price. Without an ID only the prices are printed.
    """
    from mlx_wan.cost.inputs import read_inputs
    from mlx_wan.cost.prices import read_prices
    from mlx_wan.cost.reckon import bill, cost_of

    if id is not None and all_videos:
        raise UsageError("an ID and --all were both given", "give one of them")
    inputs, table = read_inputs(flags), read_prices(prices)
    videos, rejected = _records(id, all_videos)
    told = bill([record for _, record in videos], rejected, inputs)
    rows = [(name, cost_of(record, inputs)) for name, record in videos]
    if as_json:
        print(json.dumps(_data(rows, told, inputs, table), ensure_ascii=False))
        return
    if all_videos and not videos and not rejected:
        print("note: there is no video in the library yet", file=sys.stderr)
    if rows:
        _print_costs(rows, told, inputs)
        print()
    _print_clouds(told.total.length or 1.0, table)


def _records(
    id: str | None, all_videos: bool
) -> tuple[list[tuple[str, dict[str, Any]]], list[dict[str, Any]]]:
    """(name, record) of the videos, and the records of rejected ones; what cannot be read is
    told on stderr."""
    from mlx_wan import library
    from mlx_wan.library.rebuild import is_rejected, stage_files
    from mlx_wan.record import read_json

    if id is not None:
        record = read_json(record_file(id))
        return [(str(record.get("id") or id)[:40], record)], []
    if not all_videos:
        return [], []
    found: list[tuple[str, dict[str, Any]]] = []
    with library.open_library() as opened:
        for entry in opened.index.select(library.Filters()):
            try:
                found.append((entry.id, read_json(entry.record_path)))
            except MlxWanError as error:
                print(f"note: not counted: {plain(error.message)}", file=sys.stderr)
    rejected = []
    for path, file in stage_files(library.library_root()):
        if path.endswith(".json") and is_rejected(path):
            try:
                rejected.append(read_json(file))
            except MlxWanError as error:
                print(f"note: not counted: {plain(error.message)}", file=sys.stderr)
    return found, rejected


def _data(
    rows: "list[tuple[str, Cost]]", told: "Bill", inputs: "Inputs", table: "Prices"
) -> dict[str, Any]:
    from dataclasses import asdict

    from mlx_wan.cost.prices import FORMAT, VERSION
    from mlx_wan.cost.reckon import beside_clouds

    clouds = {"as_of": table.as_of, "currency": table.currency, "note": table.note}
    length = told.total.length
    own = [
        {key: value for key, value in asdict(price).items() if key not in ("lowest", "highest")}
        | {"per_second": [price.lowest, price.highest]}
        for price in table.prices
    ]
    return {
        "ok": True,
        "inputs": asdict(inputs),
        "videos": [{"id": name} | cost.to_dict() for name, cost in rows],
        "accepted": told.accepted,
        "rejected": told.rejected,
        "rejected_cost": told.rejected_cost.to_dict(),
        "total": told.total.to_dict(),
        "per_accepted_second": told.per_second,
        "clouds": clouds
        | {"excluding_retries": True, "for_seconds": length or None}
        | {"prices": beside_clouds(length, table) if length else None},
        "price_table": {"format": FORMAT, "version": VERSION, **clouds, "prices": own},
    }


def _print_costs(rows: "list[tuple[str, Cost]]", told: "Bill", inputs: "Inputs") -> None:
    cells = [(name, *_cells(cost)) for name, cost in rows]
    if told.rejected:
        cells.append((f"{told.rejected} rejected", *_cells(told.rejected_cost)))
    if len(cells) > 1:
        cells.append(("all", *_cells(told.total)))
    header = ("", "length s", "made in s", "kWh", "energy", "depreciation", inputs.currency)
    print_table(header, cells, numbers=slice(1, None))
    if told.per_second is not None:
        print(
            f"{_money(told.per_second)} {inputs.currency} for each second of accepted video, "
            "rejected ones paid with it"
        )
    if told.total.kwh is None:
        print("energy: not measured for all of them; give --watts if you know your machine's")
    elif inputs.tariff is None:
        print("energy: give --tariff, the price of a kWh")
    if told.total.kwh_basis:
        print(f"kWh: {told.total.kwh_basis}, wall factor {inputs.wall_factor:g}")
    if inputs.purchase_price is None:
        print("depreciation: give --purchase-price")


def _print_clouds(seconds: float, table: "Prices") -> None:
    from mlx_wan.cost.reckon import beside_clouds

    rows = [
        (
            f"{row['service']}, {row['size']}",
            _span(row["from"], row["to"]),
            row["as_of"],
            f"{row['source']} ({row['kind']})",
        )
        for row in beside_clouds(seconds, table)
    ]
    print_table(
        (f"{seconds:g} s from a cloud", table.currency, "as of", "source"),
        rows,
        numbers=slice(1, 2),
    )
    print(f"Prices as of {table.as_of}, excluding retries: what you reject there is paid as well.")


def _cells(cost: "Cost") -> tuple[str, ...]:
    kwh = "" if cost.kwh is None else f"{cost.kwh:.3g}"
    money = (_money(cost.energy), _money(cost.depreciation), _money(cost.money))
    return (f"{cost.length:g}", f"{cost.seconds:,.0f}", kwh, *money)


def _money(amount: float | None) -> str:
    if amount is None:
        return ""
    if amount >= 0.1 or amount == 0:
        return f"{amount:,.2f}"
    return f"{amount:.{1 - math.floor(math.log10(amount))}f}"  # two digits that say something


def _span(lowest: float, highest: float) -> str:
    return _money(lowest) if lowest == highest else f"{_money(lowest)}-{_money(highest)}"
