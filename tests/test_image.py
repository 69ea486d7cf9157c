"""Loading pictures, hostile ones too; sizes, resizing and conditioning of the image models."""

import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mlx_wan import image
from mlx_wan.errors import BadFileError, MlxWanError, UsageError
from mlx_wan.image import (
    crop_to_shape,
    i2v_frames,
    i2v_mask,
    i2v_size,
    image_size,
    load_image,
    resize_cover,
    resize_exact,
    ti2v_size,
)

RECORDED = Path(__file__).parent / "recorded"


def picture(width: int = 12, height: int = 8) -> np.ndarray:
    """Smooth, and no two corners alike."""
    y, x = np.mgrid[:height, :width]
    channels = (x * 255 / width, y * 255 / height, (x + y) * 255 / (width + height))
    return np.stack(channels, axis=-1).astype(np.uint8)


# loading


@pytest.mark.parametrize("suffix", ["png", "bmp", "webp", "jpg"])
def test_loads_the_usual_formats(tmp_path, suffix):
    path = tmp_path / f"picture.{suffix}"
    options = {"lossless": True} if suffix == "webp" else {"quality": 100, "subsampling": 0}
    Image.fromarray(picture()).save(path, **(options if suffix in ("webp", "jpg") else {}))
    loaded = load_image(path)
    assert loaded.dtype == np.uint8 and loaded.shape == (8, 12, 3)
    assert np.abs(loaded.astype(int) - picture()).max() <= (3 if suffix == "jpg" else 0)
    assert image_size(str(path)) == (12, 8)


def test_the_name_does_not_matter(tmp_path):
    Image.fromarray(picture()).save(tmp_path / "a", format="PNG")
    assert np.array_equal(load_image(tmp_path / "a"), picture())


@pytest.mark.parametrize("orientation", range(1, 9))
def test_turns_photos_upright(tmp_path, orientation):
    stored = picture()
    turned = {
        1: stored,
        2: stored[:, ::-1],
        3: stored[::-1, ::-1],
        4: stored[::-1],
        5: stored.swapaxes(0, 1),
        6: np.rot90(stored, -1),
        7: stored[::-1, ::-1].swapaxes(0, 1),
        8: np.rot90(stored),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(stored).save(tmp_path / "photo.png", exif=exif)
    assert np.array_equal(load_image(tmp_path / "photo.png"), turned)
    assert image_size(tmp_path / "photo.png") == (turned.shape[1], turned.shape[0])


def test_transparency_becomes_black(tmp_path):
    rgba = np.dstack([picture(), np.full((8, 12), 255, np.uint8)])
    rgba[:4, ..., 3] = 0
    rgba[4, ..., 3] = 128
    Image.fromarray(rgba).save(tmp_path / "logo.png")
    loaded = load_image(tmp_path / "logo.png")
    assert not loaded[:4].any()
    assert np.abs(loaded[4].astype(int) - picture()[4] * (128 / 255)).max() <= 1
    assert np.array_equal(loaded[5:], picture()[5:])


@pytest.mark.parametrize("mode", ["L", "LA", "P", "CMYK", "1", "I;16"])
def test_other_colour_modes_become_rgb(tmp_path, mode):
    grey = picture()[..., 0]
    if mode == "I;16":
        Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "a.png")
    else:
        suffix = "jpg" if mode == "CMYK" else "png"
        Image.fromarray(grey).convert("RGB").convert(mode).save(tmp_path / f"a.{suffix}")
    loaded = load_image(next(tmp_path.iterdir())).astype(int)
    assert loaded.shape == (8, 12, 3)
    if mode not in ("1", "P"):  # those are dithered
        assert np.abs(loaded - grey[..., None]).max() <= (4 if mode == "CMYK" else 0)


def test_a_palette_with_a_transparent_colour(tmp_path):
    palette = Image.fromarray(picture()).convert("P", palette=Image.Palette.ADAPTIVE, colors=4)
    palette.save(tmp_path / "a.png", transparency=int(np.asarray(palette)[0, 0]))
    assert not load_image(tmp_path / "a.png")[0, 0].any()


def test_an_animation_gives_its_first_frame(tmp_path):
    frames = [Image.fromarray(picture() // n) for n in (1, 2, 3)]
    frames[0].save(tmp_path / "a.png", save_all=True, append_images=frames[1:])
    assert np.array_equal(load_image(tmp_path / "a.png"), picture())


def png_chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(width: int, height: int, data: bytes = b"", extra: bytes = b"") -> bytes:
    """A PNG that claims a size, whatever its data."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = png_chunk(b"IHDR", header) + extra + png_chunk(b"IDAT", zlib.compress(data))
    return b"\x89PNG\r\n\x1a\n" + body + png_chunk(b"IEND", b"")


def hostile_files() -> dict[str, bytes]:
    good = png(12, 8, b"".join(b"\0" + row.tobytes() for row in picture()))
    flipped = bytearray(good)
    flipped[50] ^= 0xFF
    return {
        "empty": b"",
        "one byte": b"\x89",
        "signature only": good[:8],
        "cut header": good[:20],
        "wrong checksum": good[:-13] + bytes([good[-13] ^ 1]) + good[-12:],
        "cut data": good[:-30],
        "flipped bit": bytes(flipped),
        "no pixels": png(12, 8),
        "zero width": png(0, 8),
        "huge": png(2**31 - 1, 2**31 - 1),
        "bomb": png(30_000, 30_000, bytes(1000)),
        "large": png(9_000, 9_000),
        "large enough for Pillow's warning": png(10_000, 10_000),
        "text bomb": png(12, 8, extra=png_chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(2**22)))),
        "html": b"<!DOCTYPE html><html>404</html>",
        "svg": b'<svg xmlns="http://www.w3.org/2000/svg"><rect width="9" height="9"/></svg>',
        "playlist": b"ffconcat version 1.0\nfile /etc/passwd\n",
        "postscript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
        "gif": b"GIF89a\x09\0\x09\0\0\0\0,\0\0\0\0\x09\0\x09\0\0\x02\0;",
        "tiff": b"II*\0\x08\0\0\0\0\0",
        "jpeg start": b"\xff\xd8\xff\xe0\0\x10JFIF\0",
        "webp start": b"RIFF\xff\xff\xff\xffWEBPVP8 ",
        "bmp start": b"BM" + bytes(12),
        "bmp huge": b"BM"
        + struct.pack("<IHHI", 0, 0, 0, 54)
        + struct.pack("<IiiHHIIiiII", 40, 60_000, 60_000, 1, 24, 0, 0, 0, 0, 0, 0),
    }


@pytest.mark.parametrize("data", hostile_files().values(), ids=list(hostile_files()))
def test_hostile_files_are_refused(tmp_path, recwarn, data):
    path = tmp_path / "picture.png"
    path.write_bytes(data)
    for function in (load_image, image_size):
        with pytest.raises(BadFileError, match=r"picture\.png") as caught:
            function(path)
        assert caught.value.hint
    assert not list(recwarn)


@pytest.mark.parametrize("suffix", ["gif", "tiff", "ppm", "ico", "tga", "pdf", "eps"])
def test_decoders_nobody_needs_are_not_reached(tmp_path, suffix):
    Image.fromarray(picture()).save(tmp_path / f"a.{suffix}")
    with pytest.raises(BadFileError, match="PNG, JPEG, WEBP, BMP"):
        load_image(tmp_path / f"a.{suffix}")


def test_damaged_exif_data_is_no_reason_to_refuse_a_photo(tmp_path, recwarn):
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x09" + bytes(20)
    Image.fromarray(picture()).save(tmp_path / "a.jpg", exif=exif)
    assert load_image(tmp_path / "a.jpg").shape == (8, 12, 3)
    assert not list(recwarn)


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "bmp"])
def test_truncated_pictures_are_refused_wherever_they_end(tmp_path, suffix):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(noise).save(path)
    data = path.read_bytes()
    for share in (0.02, 0.3, 0.6, 0.9):
        path.write_bytes(data[: int(len(data) * share)])
        with pytest.raises(BadFileError):
            load_image(path)


def test_what_is_not_a_file_is_refused_without_waiting(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe", tmp_path / "missing", "a\0b", "/dev/null"):
        with pytest.raises(UsageError, match="image"):
            load_image(path)


def test_a_file_that_is_too_large_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(image, "MAX_FILE_BYTES", 100)
    (tmp_path / "a.png").write_bytes(bytes(101))
    with pytest.raises(BadFileError, match="too large; accepted: up to 100 bytes"):
        load_image(tmp_path / "a.png")


def test_a_picture_at_the_limit_is_read(tmp_path, monkeypatch):
    Image.fromarray(picture()).save(tmp_path / "a.png")
    monkeypatch.setattr(image, "MAX_PIXELS", 96)
    load_image(tmp_path / "a.png")
    monkeypatch.setattr(image, "MAX_PIXELS", 95)
    with pytest.raises(BadFileError, match="million pixels"):
        load_image(tmp_path / "a.png")


# sizes


@pytest.mark.parametrize(
    ("given", "area", "made"),
    [
        ((1920, 1080), 1280 * 720, (1280, 720)),
        ((1080, 1920), 1280 * 720, (720, 1280)),
        ((832, 480), 832 * 480, (832, 480)),
        ((1920, 1080), 832 * 480, (832, 464)),
        ((1000, 1000), 832 * 480, (624, 624)),
        ((640, 480), 1280 * 720, (1104, 816)),
        ((300, 100), 64 * 64, (96, 32)),
    ],
)
def test_i2v_size_keeps_the_images_shape(given, area, made):
    assert i2v_size(given, area, (16, 16)) == made


@pytest.mark.parametrize(
    ("given", "made"),
    [
        ((1920, 1080), (1248, 704)),
        ((1080, 1920), (704, 1248)),
        ((1280, 704), (1280, 704)),
        ((1024, 768), (1088, 800)),
        ((1000, 1000), (960, 928)),
    ],
)
def test_ti2v_size_is_the_better_of_two_roundings(given, made):
    assert ti2v_size(given, 704 * 1280, (32, 32)) == made


@pytest.mark.parametrize("size_of", [i2v_size, ti2v_size])
def test_sizes_stay_in_the_area_and_on_the_grid(size_of):
    for width in range(20, 200, 7):
        for multiples in ((16, 16), (32, 32), (32, 16)):
            w, h = size_of((width, 100), 200 * 200, multiples)
            assert w % multiples[0] == 0 == h % multiples[1] and 0 < w * h <= 200 * 200


@pytest.mark.parametrize("size_of", [i2v_size, ti2v_size])
def test_images_no_video_can_be_made_of(size_of):
    with pytest.raises(UsageError, match="factor of 10"):
        size_of((1001, 100), 1280 * 720, (16, 16))
    with pytest.raises(UsageError, match="nothing is left"):
        size_of((100, 100), 15 * 15, (16, 16))
    size_of((1000, 100), 1280 * 720, (16, 16))


def test_ti2v_takes_the_rounding_that_leaves_something():
    assert ti2v_size((100, 30), 64 * 32, (32, 32)) == (64, 32)
    assert ti2v_size((30, 100), 64 * 32, (32, 32)) == (32, 64)


# resizing


def test_bicubic_is_torchs():
    recorded = np.load(RECORDED / "image_bicubic.npz")
    for i in range(len(recorded) // 2):
        expected = recorded[f"out_{i}"]
        ours = resize_exact(recorded[f"image_{i}"], (expected.shape[1], expected.shape[0]))
        assert ours.dtype == np.float32
        assert np.abs(ours - expected).max() < 1e-5


def test_bicubic_to_the_same_size_only_rescales_the_values():
    assert np.array_equal(resize_exact(picture(), (12, 8)), picture() / np.float32(127.5) - 1)


def test_cover_resizes_and_takes_the_centre():
    wide = picture(90, 30)
    resized = Image.fromarray(wide).resize((48, 16), Image.Resampling.LANCZOS)
    expected = np.asarray(resized)[:, 16:32] / np.float32(127.5) - 1
    assert np.array_equal(resize_cover(wide, (16, 16)), expected)
    tall = picture(30, 91)
    resized = Image.fromarray(tall).resize((16, 49), Image.Resampling.LANCZOS)
    expected = np.asarray(resized)[16:32] / np.float32(127.5) - 1
    assert np.array_equal(resize_cover(tall, (16, 16)), expected)


def test_cover_fills_every_size():
    for width in range(5, 60, 6):
        assert resize_cover(picture(width, 31), (32, 16)).shape == (16, 32, 3)


def test_crop_to_shape_takes_the_centre_unscaled():
    assert np.array_equal(crop_to_shape(picture(90, 30), (16, 16)), picture(90, 30)[:, 30:60])
    assert np.array_equal(crop_to_shape(picture(30, 90), (32, 16)), picture(30, 90)[37:52])
    assert np.array_equal(crop_to_shape(picture(), (24, 16)), picture())


# conditioning


def frames(num_frames: int, last: np.ndarray | None = None) -> list[np.ndarray]:
    first = np.full((2, 3, 3), 0.5, np.float32)
    return list(i2v_frames(first, last, num_frames))


def test_the_video_to_encode_is_the_image_then_grey():
    chunks = frames(13)
    assert [chunk.shape for chunk in chunks] == [(1, 1, 2, 3, 3)] + 3 * [(1, 4, 2, 3, 3)]
    video = np.concatenate(chunks, axis=1)
    assert (video[:, 0] == 0.5).all() and not video[:, 1:].any()
    assert video.dtype == np.float32
    assert len(frames(1)) == 1


@pytest.mark.parametrize("num_frames", [5, 9, 13])
def test_a_last_image_is_the_last_frame(num_frames):
    video = np.concatenate(frames(num_frames, np.full((2, 3, 3), -0.5, np.float32)), axis=1)
    assert video.shape[1] == num_frames
    assert (video[:, -1] == -0.5).all() and not video[:, 1:-1].any()


def test_a_last_image_needs_a_frame_of_its_own():
    with pytest.raises(MlxWanError, match="num_frames is 1"):
        frames(1, np.zeros((2, 3, 3), np.float32))


def test_mask_marks_the_given_pixel_frames():
    mask = i2v_mask((1, 4, 2, 3, 16), has_last=False)
    assert mask.shape == (1, 4, 2, 3, 4) and mask.dtype == np.float32
    assert (mask[:, 0] == 1).all() and not mask[:, 1:].any()
    both = i2v_mask((1, 4, 2, 3, 16), has_last=True)
    assert (both[:, -1, ..., 3] == 1).all()
    both[:, -1, ..., 3] = 0
    assert np.array_equal(both, mask)
