"""What videos cost: arithmetic, what is not known, rejected ones, prices and inputs from files."""

import json
import sys
from types import SimpleNamespace

import pytest
from library_files import add_video, write_video

from mlx_wan.cli.main import run
from mlx_wan.cost import energy
from mlx_wan.cost.inputs import Inputs, read_inputs
from mlx_wan.cost.prices import read_prices
from mlx_wan.cost.reckon import beside_clouds, bill, cost_of
from mlx_wan.errors import BadFileError, UsageError
from mlx_wan.home import home

MADE = {"encode": 60.0, "denoise": 3000.0, "decode": 540.0}  # an hour
VIDEO = {"seconds": MADE, "duration": 10, "energy": {"joules": 720_000.0}}  # 0.2 kWh
OWNER = Inputs(tariff=0.30, purchase_price=9499, life_years=3, hours_per_day=24, wall_factor=1.25)


def test_energy_and_depreciation_are_kept_apart():
    cost = cost_of(VIDEO, OWNER)
    assert (cost.seconds, cost.length, cost.kwh_basis) == (3600, 10, "measured")
    assert cost.kwh == pytest.approx(0.25) and cost.energy == pytest.approx(0.075)
    assert cost.depreciation == pytest.approx(9499 / (3 * 365.25 * 24))
    assert cost.money == pytest.approx(cost.energy + cost.depreciation)


def test_what_is_not_known_is_none_and_never_0():
    unmeasured = VIDEO | {"energy": {"joules": None}}
    assert cost_of(unmeasured, OWNER).energy is None
    told = cost_of(unmeasured, Inputs(tariff=0.3, watts=200.0))
    assert told.kwh == pytest.approx(0.2) and told.kwh_basis == "your watts"
    assert cost_of(VIDEO, Inputs()).money is None
    both = bill([VIDEO, unmeasured], [], OWNER).total  # a sum of one would look like all
    assert both.kwh is None and both.depreciation is not None


def test_rejected_generations_are_paid_by_the_accepted():
    one = bill([VIDEO], [], OWNER)
    two = bill([VIDEO], [VIDEO], OWNER)
    assert two.per_second == pytest.approx(2 * one.per_second)
    assert (two.accepted, two.rejected, two.total.length) == (1, 1, 10)
    assert bill([], [VIDEO], OWNER).per_second is None


@pytest.mark.parametrize(
    "record",
    [
        {},
        {"seconds": 5, "energy": 5, "plan": 5, "duration": "x"},
        {"seconds": {"a": float("nan"), "b": -1, "c": True, "d": 1e300, "e": "1"}},
        {"energy": {"joules": float("inf")}, "plan": {"num_frames": 17, "fps": 0}},
    ],
)
def test_records_may_say_anything(record):
    cost = cost_of(record, OWNER)
    assert (cost.seconds, cost.length, cost.kwh) == (0, 0, None)


def test_the_built_in_prices_are_dated_and_sourced():
    table = read_prices()
    assert len(table.prices) >= 5 and table.currency == "USD"
    assert all(price.as_of and price.source for price in table.prices)
    veo = beside_clouds(10, table)[0]
    assert "Veo" in veo["service"] and veo["from"] == veo["to"] == pytest.approx(4.0)


def own_prices(**changes) -> str:
    row = {
        **{"service": "Mine", "size": "720p", "per_second": [0.1, 0.2]},
        **{"as_of": "2026-11", "source": "my bill"},
    }
    data = {
        **{"format": "mlx-wan-prices", "version": 1, "as_of": "2026-11-01", "currency": "EUR"},
        "prices": [row | changes.pop("row", {})],
    }
    return json.dumps(data | changes)


def test_own_prices_replace_the_table(tmp_path):
    file = tmp_path / "mine.json"
    file.write_text(own_prices())
    assert read_prices(file).prices[0].service == "Mine"
    home().mkdir()
    (home() / "prices.json").write_text(own_prices(currency="GBP"))
    assert read_prices().currency == "GBP"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[" * 9999,
        "[1]",
        own_prices(version=2),
        own_prices(prices=[]),
        own_prices(prices=[5]),
        own_prices(currency="euros"),
        own_prices(as_of="yesterday"),
        own_prices(row={"per_second": 0.1}),
        own_prices(row={"per_second": [0.2, 0.1]}),
        own_prices(row={"per_second": [0, float("nan")]}),
        own_prices(row={"per_second": [True, 1]}),
        own_prices(row={"service": "x" * 999}),
        own_prices(row={"as_of": "2026-13"}),
        own_prices().replace('"currency":', '"currency": "EUR", "currency":'),  # which one holds?
    ],
)
def test_a_damaged_table_is_told(tmp_path, text):
    file = tmp_path / "mine.json"
    file.write_text(text)
    with pytest.raises(BadFileError, match="no table of prices"):
        read_prices(file)


def test_flags_win_over_the_config():
    home().mkdir()
    (home() / "config.toml").write_text('[cost]\ntariff = 0.2\ncurrency = "EUR"\n')
    told = read_inputs({"tariff": 0.5, "watts": None})
    assert (told.tariff, told.currency, told.watts) == (0.5, "EUR", None)


@pytest.mark.parametrize(
    "config",
    [
        "cost = 5",
        "[cost",
        "[cost]\ntarif = 1",
        '[cost]\ntariff = "1"',
        "[cost]\ntariff = nan",
        "[cost]\ntariff = true",
        "[cost]\nhours_per_day = 25",
        "[cost]\nlife_years = 0",
        '[cost]\ncurrency = "€"',
    ],
)
def test_a_wrong_config_is_told(config):
    home().mkdir()
    (home() / "config.toml").write_text(config)
    with pytest.raises(UsageError):
        read_inputs({})


def test_energy_is_null_where_nothing_measures_it(monkeypatch):
    if sys.platform != "darwin":
        assert energy.EnergyMeter().joules() is None
    assert energy.energy_of(None) == {"joules": None, "covers": None}


def test_energy_of_the_chips_counters(monkeypatch):
    class Monitor:
        def begin_window(self, name):
            self.name = name

        def end_window(self, name):
            assert name == self.name
            return SimpleNamespace(cpu_total_mj=1000, gpu_mj=5000, ane_mj=None, dram_mj=500)

    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setitem(
        sys.modules, "zeus_apple_silicon", SimpleNamespace(AppleEnergyMonitor=Monitor)
    )
    meter = energy.EnergyMeter()
    assert meter.joules() == meter.joules() == pytest.approx(6.5)
    assert energy.energy_of(6.5)["covers"]


def test_the_command_counts_the_library(capsys):
    entry = add_video("one", **VIDEO)
    write_video("one.rejected", poster=False, **VIDEO)
    flags = ["--tariff", "0.3", "--purchase-price", "9499", "--wall-factor", "1.25"]
    assert run(["cost", "--all", *flags, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["accepted"], told["rejected"]) == (1, 1)
    assert told["total"]["kwh"] == pytest.approx(0.5)
    assert told["per_accepted_second"] == pytest.approx(told["total"]["money"] / 10)
    assert told["clouds"]["excluding_retries"] and told["clouds"]["for_seconds"] == 10
    file = home().parent / "table.json"
    file.write_text(json.dumps(told["price_table"]))
    assert run(["cost", entry.id, "--prices", str(file), *flags]) == 0
    out = capsys.readouterr().out
    assert entry.id in out and "excluding retries" in out and "depreciation" in out
    assert run(["cost"]) == 0
    assert run(["cost", "x", "--all"]) == 2
    assert run(["cost", "--tariff", "-1"]) == 2
