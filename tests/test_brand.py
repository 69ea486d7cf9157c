"""The brand file, its font and logo, and the commands around it."""

import io
import json
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mlx_wan.cli.main import run
from mlx_wan.errors import BadFileError, MlxWanError, UsageError
from mlx_wan.studio.brand import Brand, brand_path, check_files, load_brand, write_template
from mlx_wan.studio.formats import FORMATS
from mlx_wan.studio.logo import load_logo
from mlx_wan.studio.overlay import Overlay
from mlx_wan.studio.storyboard import Shot, Storyboard


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("MLX_WAN_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def written(folder: Path, text: str | bytes) -> Path:
    path = folder / "brand.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def logo(folder: Path, size=(300, 120), name="logo.png", mode="RGBA") -> Path:
    picture = Image.new(mode, size)
    picture.paste((255, 90, 0, 255)[: len(mode)], (2, 2, size[0] - 4, size[1] - 2))
    picture.save(folder / name)
    return folder / name


def signed(brand: Brand, form="wide") -> tuple[Overlay, np.ndarray]:
    one = Overlay(Storyboard(form, 1.0, (Shot("x", 1.0),)), brand)
    frame = np.zeros((one.format.height, one.format.width, 3), np.uint8)
    one.draw(frame, 0)
    return one, frame


def test_without_a_file_it_is_arthur_dell(home):
    assert load_brand() == Brand()
    assert load_brand().name == "Arthur Dell"
    assert load_brand().position == "bottom-right"


def test_the_template_is_the_default(home):
    assert load_brand(write_template(brand_path())) == Brand() == load_brand()


def test_a_file_is_read_and_its_files_are_found_beside_it(tmp_path):
    logo(tmp_path)
    path = written(
        tmp_path,
        'name = "Ünïcode 世界"\nposition = "top-left"\nopacity = 1\nlogo = "logo.png"\n'
        '[colours]\naccent = "#ff8800"\n',
    )
    brand = load_brand(path)
    assert brand.name == "Ünïcode 世界"
    assert brand.position == "top-left"
    assert brand.colour("accent") == (255, 136, 0)
    assert brand.logo == str(tmp_path / "logo.png")
    check_files(brand)
    json.dumps(brand.to_dict())


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("name = ", "not valid TOML"),
        (b"name = '\xff'", "UTF-8"),
        ("a = " + "[" * 3000, "TOML|nested"),
        ("nmae = 'x'", "nmae is not known; accepted: name"),
        ("[colours]\nred = '#ff0000'", "colours.red is not known"),
        ("colours = 'red'", "table"),
        ("name = 3", "name is 3"),
        ("name = ''", "name is empty"),
        (f"name = '{'x' * 61}'", "61 characters"),
        ("position = 'middle'", "position is 'middle'; accepted: bottom-right"),
        ("opacity = 2", "opacity is 2"),
        ("opacity = true", "opacity is True"),
        ("opacity = nan", "opacity is nan"),
        ("opacity = 0.1", "opacity is 0.1; accepted: 0.65 to 1"),
        ("[colours]\ntext = 'white'", "text is 'white'; accepted: #RRGGBB"),
        ("[colours]\ntext = '#FFF'", "#RRGGBB"),
        ("[colours]\ntext = '#777777'", "contrast of .* : 1"),
        ("font = 7", "font is 7"),
        ("logo = ''", "logo is ''"),
        ("x = 1\n" * 20_000, "64 KB|TOML"),
    ],
)
def test_a_wrong_file_is_refused_and_named(tmp_path, text, named):
    with pytest.raises((UsageError, BadFileError), match=named) as refused:
        load_brand(written(tmp_path, text))
    assert "brand.toml" in refused.value.message


def test_no_file_a_folder_and_odd_paths(tmp_path):
    for path in (tmp_path / "none.toml", tmp_path, "a\0b"):
        with pytest.raises(UsageError):
            load_brand(path)


@pytest.mark.parametrize("form", FORMATS)
def test_the_signature_is_in_its_corner_on_every_frame(form):
    one, frame = signed(Brand(), form)
    box, safe = one.boxes["signature"], one.format.safe
    assert box.right == safe.right
    assert box.bottom == safe.bottom
    part = frame[box.top : box.bottom, box.left : box.right].copy()
    assert part.max() > 200
    last = np.zeros_like(frame)
    one.draw(last, one.storyboard.num_frames - 1)
    assert (last == frame).all()
    frame[box.top - 1 : box.bottom + 1, box.left - 1 : box.right + 1] = 0
    assert not frame.any()


def test_opacity_is_of_the_signature():
    strong, weak = signed(Brand(opacity=1.0))[1].max(), signed(Brand(opacity=0.7))[1].max()
    assert strong == 255
    assert abs(int(weak) - 178) <= 2


@pytest.mark.parametrize("size", [(300, 120), (4000, 20), (20, 3000), (64, 64)])
@pytest.mark.parametrize("form", FORMATS)
def test_a_logo_stands_before_the_name_in_its_own_shape(tmp_path, size, form):
    one, frame = signed(Brand(logo=str(logo(tmp_path, size)), opacity=1.0), form)
    placed = one.placed[0]
    assert one.format.safe.contains(placed.box)
    assert placed.box.contains(placed.logo)
    part = frame[placed.logo.top : placed.logo.bottom, placed.logo.left : placed.logo.right]
    assert (np.abs(part.astype(int) - (255, 90, 0)) < 6).all(axis=2).mean() > 0.5
    shape = load_logo(tmp_path / "logo.png").shape
    wanted, got = shape[1] / shape[0], placed.logo.width / placed.logo.height
    assert got == pytest.approx(wanted, rel=0.25) or min(placed.logo.width, placed.logo.height) < 5


def test_a_logo_alone_is_a_signature(tmp_path):
    one, frame = signed(Brand(name="", logo=str(logo(tmp_path))))
    box = one.boxes["signature"]
    assert box == one.placed[0].logo
    assert frame[box.top : box.bottom, box.left : box.right].any()
    one.measure(np.zeros((108, 192, 3), np.uint8) for _ in range(24))
    json.dumps(one.report())


def png(width: int, height: int, body: bytes) -> bytes:
    """A PNG whose header claims a size."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", check)

    header = struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(body)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def jpeg() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (64, 64)).save(file, "JPEG")
    return file.getvalue()


@pytest.mark.parametrize(
    ("data", "named"),
    [
        (b"", "not a whole PNG"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 100, "not a whole PNG"),
        (jpeg(), "not a whole PNG"),
        (png(60_000, 60_000, b""), "60000x60000|bomb"),
        (png(4000, 4000, b"\0" * 10), "not a whole PNG"),
        (png(5000, 20, b"\0" * 20 * 20001), "5000x20; accepted: 16 to 4096"),
        (png(4, 4, b"\0" * 68), "4x4; accepted: 16 to 4096"),
        (png(32, 32, b"\0" * (32 * 129)), "fully transparent"),
        (b"\0" * (8 * 2**20 + 1), "accepted: up to 8"),
    ],
)
def test_hostile_logos_are_refused(tmp_path, data, named):
    path = tmp_path / "logo.png"
    path.write_bytes(data)
    with pytest.raises(MlxWanError, match=named):
        signed(Brand(logo=str(path)))


def test_missing_logo_and_font(tmp_path):
    for brand in (Brand(logo=str(tmp_path / "no.png")), Brand(font=str(tmp_path / "no.ttf"))):
        with pytest.raises(UsageError, match="does not exist"):
            check_files(brand)


@pytest.mark.parametrize("cut", [0, 3, 4, 100, 5_000, 400_000])
def test_damaged_fonts_are_refused(tmp_path, cut):
    import fontpkg_inter

    whole = (Path(fontpkg_inter.ROOT) / "files" / "Inter[opsz,wght].ttf").read_bytes()
    path = tmp_path / "own.ttf"
    path.write_bytes(whole[:cut])
    with pytest.raises(UsageError, match=r"own\.ttf"):
        check_files(Brand(font=str(path)))


def test_an_own_font_is_used_and_others_help_out(tmp_path):
    import manimgx_fonts

    source = Path(manimgx_fonts.__file__).parent / "NotoSansGeorgian[wght].ttf"
    path = tmp_path / "own.ttf"
    path.write_bytes(source.read_bytes())
    latin = Path(manimgx_fonts.__file__).parent / "NotoSans[wght].ttf"
    with pytest.raises(UsageError, match="no letters"):
        check_files(Brand(font=str(path)))
    path = tmp_path / "latin.ttf"
    path.write_bytes(latin.read_bytes())
    one, _ = signed(Brand(name="Arthur 世界", font=str(path)))
    assert {glyph.face.name for glyph in one.placed[0].lines[0].glyphs} == {
        "latin.ttf",
        "NotoSansCJKjp-Bold.otf",
    }


@pytest.mark.parametrize("name", ["W" * 60, "世" * 60, "عبد الرحمن", "👩🏽‍💻 Ada", "A\nB"])
def test_names_of_every_kind(name):
    try:
        one, _ = signed(Brand(name=name), "shorts")
    except UsageError as error:
        assert "the brand's name has 60 characters" in error.message
        assert name == "世" * 60 or name == "W" * 60
    else:
        assert one.format.safe.contains(one.boxes["signature"])


def test_names_that_cannot_be_drawn():
    for name in ("\x1b[31m", "𓀀", "a\u202e", "\ue000"):
        with pytest.raises(UsageError, match="the brand's name"):
            signed(Brand(name=name))


def test_init_writes_once(home, capsys):
    assert run(["brand", "init"]) == 0
    assert capsys.readouterr().out.strip() == str(home / "brand.toml")
    (home / "brand.toml").write_text('name = "Mine"\n')
    assert run(["brand", "init"]) == 2
    assert "exists already" in capsys.readouterr().err
    assert load_brand().name == "Mine"
    assert sorted(path.name for path in home.iterdir()) == ["brand.toml"]


def test_show_checks_and_prints(home, capsys, tmp_path):
    assert run(["brand", "show", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["name"] == "Arthur Dell"
    file = written(tmp_path, "logo = 'none.png'")
    assert run(["brand", "show", "--brand", str(file)]) == 2
    assert "none.png does not exist" in capsys.readouterr().err


def test_preview_writes_a_picture_of_each_format_and_replaces_none(home, tmp_path, capsys):
    folder = tmp_path / "pictures"
    for _ in range(2):
        assert run(["brand", "preview", "-o", str(folder)]) == 0
    paths = capsys.readouterr().out.split()
    assert len(paths) == len({*paths}) == 6
    for name, form in FORMATS.items():
        with Image.open(folder / f"brand_{name}.png") as picture:
            assert picture.size == (form.width, form.height)
    assert run(["brand", "preview", "-o", str(folder / "brand_wide.png")]) == 2
