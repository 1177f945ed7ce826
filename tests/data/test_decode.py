"""The decoding policy: every rule of its table, against pixel values worked out by hand."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile

from convarium import data
from convarium.data.decode import MAX_PIXELS, is_image_name, read_image, read_mask
from convarium.errors import DataError, OptionError

CORNERS = [[10, 20, 30], [40, 50, 60]]


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def over_white(value: int, alpha: int) -> int:
    """The composite in exact fractions, rounded to the nearest; 255 is odd, so no tie arises."""
    return round(Fraction(value * alpha + 255 * (255 - alpha), 255))


def png(width: int, height: int, depth: int, kind: int, rows: bytes, extra: bytes = b"") -> bytes:
    """A PNG written by hand, so that the test does not stand on Pillow's writer."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        )

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0))
    data = chunk(b"IDAT", zlib.compress(rows))
    return b"\x89PNG\r\n\x1a\n" + header + extra + data + chunk(b"IEND", b"")


def chunk_trns(*values: int) -> bytes:
    body = struct.pack(f">{len(values)}H", *values)
    return (
        struct.pack(">I", len(body))
        + b"tRNS"
        + body
        + struct.pack(">I", zlib.crc32(b"tRNS" + body))
    )


# What each orientation stores where the upright picture is CORNERS, from the EXIF standard's
# "row 0 is at the visual ..., column 0 at the visual ...".
STORED = {
    1: CORNERS,
    2: [[30, 20, 10], [60, 50, 40]],
    3: [[60, 50, 40], [30, 20, 10]],
    4: [[40, 50, 60], [10, 20, 30]],
    5: [[10, 40], [20, 50], [30, 60]],
    6: [[30, 60], [20, 50], [10, 40]],
    7: [[60, 30], [50, 20], [40, 10]],
    8: [[40, 10], [50, 20], [60, 30]],
}


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_rotation_in_exif_is_not_ignored(orientation: int, kind: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(np.array(STORED[orientation], np.uint8))
    assert read_image(encoded(stored, kind, exif=exif))[:, :, 0].tolist() == CORNERS


@pytest.mark.parametrize("orientation", [0, 9, 77])
def test_an_unknown_orientation_counts_as_upright(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(np.array(CORNERS, np.uint8))
    assert read_image(encoded(stored, exif=exif))[:, :, 0].tolist() == CORNERS


def test_damaged_exif_counts_as_upright_and_warns_nobody() -> None:
    stored = Image.fromarray(np.full((8, 8), 100, np.uint8))
    data = encoded(stored, "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x05\x01\x12\0\x03\xff")
    assert read_image(data).shape == (8, 8, 1)


def test_16_bit_grey_is_not_turned_white() -> None:
    values = [0, 1, 255, 256, 257 * 7, 300, 32768, 65534, 65535]
    rows = b"\0" + struct.pack(f">{len(values)}H", *values)
    found = read_image(png(len(values), 1, 16, 0, rows))
    assert found[0, :, 0].tolist() == [0, 0, 0, 1, 7, 1, 128, 255, 255]


def test_16_bit_colour_follows_the_same_rule_as_grey() -> None:
    rows = b"\0" + struct.pack(">6H", 255, 256, 65535, 257 * 9, 0, 40000)
    assert read_image(png(2, 1, 16, 2, rows)).tolist() == [[[0, 1, 255], [9, 0, 156]]]


def test_16_bit_tiff_and_pnm() -> None:
    values = np.array([[257 * 3, 65535]], np.uint16)
    assert read_image(encoded(Image.fromarray(values), "TIFF")).tolist() == [[[3], [255]]]
    assert read_image(b"P5 2 1 65535\n\x03\x03\xff\xff").tolist() == [[[3], [255]]]


def tiff(width: int, bits: int, photometric: int, row: bytes) -> bytes:
    """A TIFF of one grey row written by hand, little-endian; 0 is white, 1 is black-is-zero."""
    values = {256: width, 257: 1, 258: bits, 259: 1, 262: photometric, 277: 1, 278: 1}
    start = 8 + 2 + 12 * (len(values) + 2) + 4
    values |= {273: start, 279: len(row)}
    entries = b"".join(
        struct.pack("<HHII", tag, 4 if tag in (273, 279) else 3, 1, value)
        for tag, value in sorted(values.items())
    )
    return struct.pack("<2sHIH", b"II", 42, 8, len(values)) + entries + bytes(4) + row


@pytest.mark.parametrize(("photometric", "wanted"), [(0, [255, 254, 248, 0]), (1, [0, 1, 7, 255])])
def test_white_is_zero_is_not_inverted_in_16_bits(photometric: int, wanted: list[int]) -> None:
    row = struct.pack("<4H", 255, 256, 257 * 7, 65535)
    assert read_image(tiff(4, 16, photometric, row))[0, :, 0].tolist() == wanted


@pytest.mark.parametrize(("photometric", "wanted"), [(0, [255, 248, 0]), (1, [0, 7, 255])])
def test_white_is_zero_is_not_inverted_in_8_bits(photometric: int, wanted: list[int]) -> None:
    found = read_image(tiff(3, 8, photometric, bytes([0, 7, 255])))
    assert found[0, :, 0].tolist() == wanted


def test_12_bits_are_not_turned_black() -> None:
    # 0x010, 0x7FF, 0xFFF and 0x00F, four bits a letter
    found = read_image(tiff(4, 12, 1, bytes.fromhex("0107fffff00f")))
    assert found[0, :, 0].tolist() == [1, 127, 255, 0]


def test_a_transparent_16_bit_grey_becomes_white() -> None:
    rows = b"\0" + struct.pack(">2H", 300, 301)
    assert read_image(png(2, 1, 16, 0, rows, chunk_trns(300))).tolist() == [[[255], [1]]]


def test_a_transparent_16_bit_colour_becomes_white() -> None:
    rows = b"\0" + struct.pack(">6H", 300, 5000, 60000, 257, 514, 771)
    found = read_image(png(2, 1, 16, 2, rows, chunk_trns(300, 5000, 60000)))
    assert found.tolist() == [[[255, 255, 255], [1, 2, 3]]]


def test_alpha_does_not_show_hidden_colours() -> None:
    hidden = Image.new("RGBA", (3, 2), (200, 10, 90, 0))
    assert (read_image(encoded(hidden)) == 255).all()


def test_half_transparent_pixels_are_mixed_with_white_exactly() -> None:
    values, alphas = np.meshgrid(np.arange(256), np.arange(256), indexing="ij")
    pixels = np.stack([values, 255 - values, values // 2, alphas], axis=-1).astype(np.uint8)
    found = read_image(encoded(Image.fromarray(pixels)))
    for value, alpha in [(0, 0), (0, 128), (7, 1), (254, 254), (255, 3), (100, 200), (33, 255)]:
        wanted = [over_white(v, alpha) for v in (value, 255 - value, value // 2)]
        assert found[value, alpha].tolist() == wanted


def test_grey_with_alpha_stays_grey() -> None:
    pixels = np.array([[[40, 255], [40, 0], [40, 100]]], np.uint8)
    found = read_image(encoded(Image.fromarray(pixels)))
    assert found.tolist() == [[[40], [255], [over_white(40, 100)]]]


@pytest.mark.parametrize("alphas", [b"\x00\xff\x80", 0])
def test_transparent_palette_entries_become_white(alphas: bytes | int) -> None:
    image = Image.new("P", (3, 1))
    image.putpalette([200, 10, 20, 1, 2, 3, 100, 110, 120])
    image.putdata([0, 1, 2])
    found = read_image(encoded(image, transparency=alphas))
    last = 128 if isinstance(alphas, bytes) else 255
    mixed = [over_white(value, last) for value in (100, 110, 120)]
    assert found.tolist() == [[[255, 255, 255], [1, 2, 3], mixed]]


def test_a_single_transparent_colour_becomes_white() -> None:
    colour = Image.new("RGB", (2, 1), (1, 2, 3))
    colour.putpixel((1, 0), (9, 9, 9))
    found = read_image(encoded(colour, transparency=(1, 2, 3)))
    assert found.tolist() == [[[255, 255, 255], [9, 9, 9]]]
    grey = Image.new("L", (2, 1), 9)
    grey.putpixel((1, 0), 8)
    assert read_image(encoded(grey, transparency=9)).tolist() == [[[255], [8]]]


def test_one_bit_gives_black_and_white() -> None:
    assert read_image(png(4, 1, 1, 0, b"\0\x50")).tolist() == [[[0], [255], [0], [255]]]


def test_one_bit_with_a_transparent_black_is_all_white() -> None:
    assert (read_image(png(4, 1, 1, 0, b"\0\x50", chunk_trns(0))) == 255).all()


def test_palette_gives_its_colours() -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([5, 6, 7, 250, 240, 230])
    image.putdata([1, 0])
    assert read_image(encoded(image)).tolist() == [[[250, 240, 230], [5, 6, 7]]]


def test_cmyk_tiff_by_the_stated_formula() -> None:
    inks = [(0, 0, 0, 0), (255, 0, 0, 0), (100, 50, 25, 60), (0, 0, 0, 255)]
    image = Image.new("CMYK", (4, 1))
    image.putdata(inks)
    found = read_image(encoded(image, "TIFF"))[0]
    for pixel, (*colours, black) in zip(found.tolist(), inks, strict=True):
        wanted = [255 - min(255, ink * (255 - black) / 255 + black) for ink in colours]
        assert pixel == pytest.approx(wanted, abs=1)


def test_adobe_cmyk_jpeg_is_not_inverted() -> None:
    paper = Image.new("CMYK", (16, 16), (0, 0, 0, 0))
    ink = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    assert read_image(encoded(paper, "JPEG", quality=95)).min() >= 250
    red = read_image(encoded(ink, "JPEG", quality=95))[8, 8]
    assert red[0] >= 245
    assert red[1:].max() <= 10


def test_a_png_named_jpg_is_read_by_its_content(tmp_path: Path) -> None:
    file = tmp_path / "wrong.jpg"
    file.write_bytes(encoded(Image.fromarray(np.array(CORNERS, np.uint8))))
    assert read_image(file)[:, :, 0].tolist() == CORNERS


def test_animations_give_their_first_frame() -> None:
    first, second = Image.new("RGB", (4, 4), (255, 0, 0)), Image.new("RGB", (4, 4), (0, 0, 255))
    for kind in ("GIF", "PNG"):
        data = encoded(first, kind, save_all=True, append_images=[second])
        assert (read_image(data) == [255, 0, 0]).all()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_a_truncated_file_is_unreadable_and_never_grey(kind: str, share: float) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    data = encoded(Image.fromarray(noise), kind)
    with pytest.raises(DataError, match=r"cut short|known format"):
        read_image(data[: int(len(data) * share)])


def test_half_pictures_of_another_library_are_never_returned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))
    whole = encoded(image, "JPEG")
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1.jpg").write_bytes(whole[: len(whole) // 2])
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    with pytest.raises(OptionError, match=r"LOAD_TRUNCATED_IMAGES \(=True\) .*; set it to False"):
        read_image(whole[: len(whole) // 2])
    with pytest.raises(OptionError, match="LOAD_TRUNCATED_IMAGES"):
        data.open_dataset(tmp_path).survey()


def test_a_flipped_bit_in_a_png_is_unreadable() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    data = bytearray(encoded(Image.fromarray(noise)))
    data[len(data) // 2] ^= 0x10
    with pytest.raises(DataError):
        read_image(bytes(data))


def test_a_decompression_bomb_is_refused_from_its_header() -> None:
    side = int(MAX_PIXELS**0.5) + 1
    with pytest.raises(DataError, match="limit of 178,956,970"):
        read_image(png(side, side, 8, 0, b""))
    with pytest.raises(DataError, match="limit of 178,956,970"):
        read_image(png(2**30, 2**30, 8, 0, b""))


@pytest.mark.parametrize(
    ("image", "word"),
    [
        (Image.new("F", (2, 2)), "'F'"),
        (Image.new("I", (2, 2)), "'I'"),
        (Image.new("LAB", (2, 2)), "'LAB'"),
    ],
)
def test_pixels_without_a_defined_white_are_refused(image: Image.Image, word: str) -> None:
    with pytest.raises(DataError, match=word):
        read_image(encoded(image, "TIFF"))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "known format"),
        (b"just text", "known format"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n", "known format"),
    ],
)
def test_what_is_no_image_is_refused_with_a_reason(data: bytes, reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        read_image(data)


def test_missing_files_and_folders_have_a_reason(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        read_image(tmp_path / "absent.png")
    with pytest.raises(DataError, match="is a directory"):
        read_image(tmp_path)


def test_no_warning_of_pillow_escapes_and_none_of_others_is_lost() -> None:
    wide = png(10_000, 9_001, 1, 0, (b"\0" + bytes(1250)) * 9_001)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with Image.open(io.BytesIO(wide)):
            pass
        read_image(wide)
        warnings.warn("of someone else", UserWarning, stacklevel=1)
    assert [item.category for item in caught] == [Image.DecompressionBombWarning, UserWarning]


def test_the_second_picture_in_a_camera_file_is_left_alone() -> None:
    first, second = Image.new("RGB", (8, 8), (255, 0, 0)), Image.new("RGB", (8, 8), (0, 0, 255))
    data = encoded(first, "MPO", save_all=True, append_images=[second])
    assert read_image(data)[4, 4].tolist() == pytest.approx([255, 0, 0], abs=3)


def test_pixels_are_contiguous_and_of_their_own() -> None:
    found = read_image(encoded(Image.fromarray(np.array(CORNERS, np.uint8))))
    assert found.flags.c_contiguous
    assert found.flags.writeable
    assert found.dtype == np.uint8


@pytest.mark.parametrize("name", ["a.JPG", "b/c.jpeg", "x.tiff", "x.y.png", "x.webp"])
def test_image_names(name: str) -> None:
    assert is_image_name(name)


@pytest.mark.parametrize("name", ["jpg", "a.txt", "a.jpg.txt", "png/a", "a.svg", "a.eps"])
def test_other_names(name: str) -> None:
    assert not is_image_name(name)


GREY = np.array([[0, 1], [0, 200]], np.uint8)
MARKED = [[False, True], [False, True]]


@pytest.mark.parametrize(
    "image",
    [
        Image.fromarray(GREY),
        Image.fromarray(GREY > 0),
        Image.fromarray(GREY.astype(np.uint16)),
        Image.fromarray(np.stack([GREY, np.full_like(GREY, 255)], -1), "LA"),
        Image.fromarray(np.stack([np.full_like(GREY, 9), 200 * (GREY > 0).astype("u1")], -1), "LA"),
        Image.fromarray(np.stack([0 * GREY, GREY, 0 * GREY], -1)),
    ],
    ids=["8 bits", "1 bit", "16 bits", "opaque", "transparent", "colour"],
)
def test_a_mask_marks_what_is_neither_zero_nor_transparent(image: Image.Image) -> None:
    assert read_mask(encoded(image)).tolist() == MARKED


def test_masks_are_upright_and_the_black_of_a_jpeg_is_no_mark() -> None:
    image = Image.new("L", (16, 8))
    image.paste(255, (0, 0, 8, 8))
    tags = Image.Exif()
    tags[0x0112] = 6
    found = read_mask(encoded(image, "JPEG", quality=30, exif=tags))
    assert found.shape == (16, 8)
    assert found[:8].all()
    assert not found[8:].any()
    with pytest.raises(DataError, match="not an image"):
        read_mask(b"mask")
