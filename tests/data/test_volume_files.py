"""Files of volumes against nibabel, tifffile and NumPy; hostile ones are refused in a sentence."""

from __future__ import annotations

import gzip
import io
import itertools
import logging
import os
import re
import struct
import tracemalloc
import zipfile
import zlib
from pathlib import Path

import nibabel
import numpy as np
import pytest
import tifffile
from PIL import Image

from convarium.data import Volume, read_volume
from convarium.errors import DataError

RNG = np.random.default_rng(0)
STACK = RNG.integers(0, 4000, (6, 20, 24)).astype(np.uint16)
SHIPPED = Path(nibabel.__file__).parent / "tests" / "data"


def npy_header(shape: tuple[int, ...], descr: str = "<i2") -> bytes:
    file = io.BytesIO()
    facts = {"descr": descr, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, facts)
    return file.getvalue()


def nifti(values: np.ndarray = STACK) -> bytearray:
    """NIfTI of `(D, H, W)` with the voxels (3, 1, 2) apart."""
    image = nibabel.Nifti1Image(values.astype(np.int16).T, np.diag([2.0, 1, 3, 1]))
    return bytearray(image.to_bytes())


@pytest.mark.parametrize(
    "kind", ["uint8", "int16", "uint16", "int32", "float32", "float64", "bool"]
)
@pytest.mark.parametrize("order", ["C", "F", ">"])
def test_npy_keeps_type_and_values(kind: str, order: str, tmp_path: Path) -> None:
    values = (STACK // 17).astype(kind)
    stored = values.astype(values.dtype.newbyteorder(">")) if order == ">" else values
    np.save(tmp_path / "a.npy", np.asfortranarray(stored) if order == "F" else stored)
    found = read_volume(tmp_path / "a.npy")
    assert found.values.dtype == kind
    assert found.values.dtype.isnative
    np.testing.assert_array_equal(found.values, values[None])
    assert (found.spacing, found.affine) == ((1, 1, 1), None)


@pytest.mark.parametrize(
    ("shape", "moved"),
    [((2, 12, 10, 9), None), ((12, 10, 9, 2), (3, 0, 1, 2)), ((1, 12, 10, 9), None)],
)
def test_channels_are_the_end_with_few_entries(shape, moved, tmp_path: Path) -> None:
    values = RNG.normal(size=shape).astype(np.float32)
    np.save(tmp_path / "a.npy", values)
    expected = values if moved is None else values.transpose(moved)
    np.testing.assert_array_equal(read_volume(tmp_path / "a.npy").values, expected)


@pytest.mark.parametrize("axes", ["DHW", *map("".join, itertools.permutations("CDHW"))])
def test_axes_in_an_npz_decide(axes: str, tmp_path: Path) -> None:
    values = RNG.integers(0, 9, (3, 4, 5, 6)[: len(axes)])
    np.savez_compressed(tmp_path / "a.npz", scan=values, axes=axes, spacing=(2.5, 1, 0.5))
    letters = ["CDHW".index(letter) for letter in axes]
    whole = values if "C" in axes else values[None]
    moved = np.moveaxis(values, range(4), letters) if "C" in axes else whole
    found = read_volume(tmp_path / "a.npz")
    np.testing.assert_array_equal(found.values, moved)
    assert found.spacing == (2.5, 1, 0.5)


@pytest.mark.parametrize("name", ["anatomical.nii", "example4d.nii.gz", "functional.nii"])
def test_real_nifti_files_are_nibabels_canonical_images(name: str) -> None:
    canonical = nibabel.as_closest_canonical(nibabel.load(SHIPPED / name))
    values = np.asanyarray(canonical.dataobj)
    found = read_volume(SHIPPED / name)
    channels_last = values.reshape(*values.shape[:3], -1)
    scaled = values.dtype == np.float64  # by slope and intercept
    exact = channels_last.transpose(3, 2, 1, 0).astype(np.float32 if scaled else values.dtype)
    np.testing.assert_array_equal(found.values, exact)
    assert found.values.dtype == exact.dtype.newbyteorder("=")
    np.testing.assert_allclose(found.spacing, canonical.header.get_zooms()[:3][::-1], rtol=1e-6)
    np.testing.assert_array_equal(found.affine, canonical.affine)
    assert nibabel.aff2axcodes(found.affine) == ("R", "A", "S")


@pytest.mark.parametrize("codes", ["RAS", "LPS", "AIL", "SPR", "ILA"])
def test_one_place_in_the_body_is_one_voxel_however_it_was_stored(codes, tmp_path: Path) -> None:
    ras = nibabel.Nifti1Image(STACK.astype(np.int16).T, np.diag([2.0, 1, 3, 1]))
    turn = nibabel.orientations.ornt_transform(
        nibabel.orientations.axcodes2ornt("RAS"), nibabel.orientations.axcodes2ornt(codes)
    )
    nibabel.save(ras.as_reoriented(turn), tmp_path / "a.nii.gz")
    found = read_volume(tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(found.values[0], STACK)
    assert found.spacing == (3, 1, 2)


@pytest.mark.parametrize("compression", [None, "zlib", "packbits"])
def test_tiff_pages_are_slices(compression, tmp_path: Path) -> None:
    values = STACK.astype(np.uint8) if compression == "packbits" else STACK
    if compression == "packbits":
        pages = [Image.fromarray(page) for page in values]
        pages[0].save(
            tmp_path / "a.tif", save_all=True, append_images=pages[1:], compression="packbits"
        )
    else:
        tifffile.imwrite(
            tmp_path / "a.tif", values, photometric="minisblack", compression=compression
        )
    found = read_volume(tmp_path / "a.tif")
    np.testing.assert_array_equal(found.values[0], values)
    assert found.values.dtype == values.dtype


@pytest.mark.parametrize("share", [0.3, 0.5, 0.7, 0.9, 0.99])
@pytest.mark.parametrize("compression", [None, "tiff_adobe_deflate"])
def test_a_tiff_that_is_cut_is_no_shorter_volume(compression, share, tmp_path: Path) -> None:
    pages = [Image.fromarray(page) for page in STACK.astype(np.uint8)]
    path = tmp_path / "a.tif"
    own = {} if compression is None else {"compression": compression}
    pages[0].save(path, save_all=True, append_images=pages[1:], **own)
    assert read_volume(path).size == STACK.shape
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    level = logging.getLogger("tifffile").level
    with pytest.raises(DataError, match=r"cut short|damaged"):
        read_volume(path)
    assert logging.getLogger("tifffile").level == level


def test_an_ome_tiff_of_missing_pages_or_other_files_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(path, STACK, metadata={"axes": "ZYX"})
    text = tifffile.tiffcomment(path)
    tifffile.tiffcomment(path, text.replace('SizeZ="6"', 'SizeZ="9"'))
    with pytest.raises(DataError, match=r"missing|lacks pages"):
        read_volume(path)
    tifffile.imwrite(tmp_path / "b.ome.tif", STACK, metadata={"axes": "ZYX"})
    other = '<UUID FileName="b.ome.tif">urn:uuid:0</UUID>'
    tifffile.tiffcomment(
        path,
        re.sub(
            "(<TiffData[^>]*)/>|(<TiffData[^>]*>)</TiffData>",
            lambda found: f"{found[1] or found[2][:-1]}>{other}</TiffData>",
            text,
        ),
    )
    assert other in tifffile.tiffcomment(path)
    with pytest.raises(DataError, match="names pages in other files"):
        read_volume(path)


def test_tiff_axes_and_spacing_of_imagej(tmp_path: Path) -> None:
    two = np.stack([STACK, STACK[::-1]], axis=1)  # ZCYX
    told = {"spacing": 3, "axes": "ZCYX"}
    tifffile.imwrite(tmp_path / "ij.tif", two, imagej=True, resolution=(2, 4), metadata=told)
    found = read_volume(tmp_path / "ij.tif")
    np.testing.assert_array_equal(found.values, two.swapaxes(0, 1))
    assert found.spacing == (3, 0.25, 0.5)
    tifffile.imwrite(tmp_path / "c.tif", STACK.swapaxes(0, 1), imagej=True)  # its axes are CYX
    np.testing.assert_array_equal(read_volume(tmp_path / "c.tif").values[0], STACK.swapaxes(0, 1))
    with tifffile.TiffWriter(tmp_path / "one-by-one.tif") as file:
        for page in STACK:
            file.write(page)
    np.testing.assert_array_equal(read_volume(tmp_path / "one-by-one.tif").values[0], STACK)


@pytest.mark.parametrize("name", ["a.npy", "a.nii", "picture.png"])
def test_the_content_decides_not_the_name(name: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", STACK)
    os.rename(tmp_path / "x.npz", tmp_path / name)
    np.testing.assert_array_equal(read_volume(tmp_path / name).values[0], STACK)


def test_what_is_not_finite_becomes_the_mean_of_its_channel() -> None:
    values = RNG.normal(3, 1, (2, 4, 5, 6)).astype(np.float32)
    values[0, 0, 0, :3] = [np.nan, np.inf, -np.inf]
    found = Volume(values).floats()
    good = np.isfinite(values[0])
    np.testing.assert_allclose(found[0][~good], values[0][good].astype(float).mean(), rtol=1e-6)
    np.testing.assert_array_equal(found[0][good], values[0][good])
    np.testing.assert_array_equal(found[1], values[1])
    huge = Volume(np.array([1e300, 2.0, 4.0, 6.0]).reshape(1, 1, 2, 2))
    assert huge.floats().tolist() == [[[[4.0, 2.0], [4.0, 6.0]]]]
    with pytest.raises(DataError, match="channel 1 holds no finite value"):
        Volume(np.stack([values[1], np.full((4, 5, 6), np.nan)])).floats()


def zipped(member: bytes, packing: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", packing) as archive:
        archive.writestr("volume.npy", member)
    return file.getvalue()


def saved(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


def archive(**arrays: object) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def changed(format: str, place: int, *values: float) -> bytes:
    data = nifti()
    struct.pack_into(format, data, place, *values)
    return bytes(data)


def deflate_bomb() -> bytes:
    """A TIFF of four pages whose first strip unpacks to a thousand times its page."""
    file = io.BytesIO()
    tifffile.imwrite(file, np.zeros((4, 64, 64), np.uint8), compression="zlib",
                     photometric="minisblack", rowsperstrip=64)  # fmt: skip
    data = bytearray(file.getvalue())
    with tifffile.TiffFile(io.BytesIO(data)) as read:
        names = ("StripOffsets", "StripByteCounts")
        place, count = (read.pages[0].tags[name].valueoffset for name in names)
    bomb = zlib.compress(bytes(4_000_000))
    struct.pack_into("<I", data, place, len(data))
    struct.pack_into("<H" if len(bomb) < 65536 else "<I", data, count, len(bomb))
    return bytes(data) + bomb


PACKED = gzip.compress(bytes(nifti()))
HOSTILE = {
    "empty": (b"", "the file is empty"),
    "text": (b"hello " * 200, "not a volume by its content"),
    "picture": (b"\x89PNG\r\n" + bytes(600), "a picture by its content"),
    "flat": (saved(STACK[0]), r"\(20, 24\) has 2 axes; a volume has three"),
    "five axes": (saved(STACK[None, None]), "has 5 axes"),
    "picture or slices": (saved(np.zeros((20, 20, 3))), "may be a picture with channels"),
    "either end": (saved(np.zeros((4, 20, 20, 4))), "either end has the 1 to 8 entries"),
    "neither end": (saved(np.zeros((20, 9, 9, 20))), "neither end has the 1 to 8 entries"),
    "objects": (saved(np.array([{}, 1], object)), "pickled objects"),
    "complex": (saved(STACK.astype(complex)), "complex128 are no whole numbers"),
    "texts": (saved(np.full((9, 9, 9), "a")), "are no whole numbers"),
    "no voxels": (saved(np.zeros((0, 9, 9))), "no voxels"),
    "huge": (npy_header((10**6,) * 3), "more than the limit of 268,435,456"),
    "negative": (npy_header((-5, 10, 10)), "no voxels"),
    "short": (npy_header((20, 20, 20)) + b"123", "damaged: Failed to read all data"),
    "long": (saved(STACK) + b"more", "goes on behind its array"),
    "bomb in a zip": (zipped(npy_header((2000,) * 3) + bytes(10**6)), "more than the limit"),
    "short in a zip": (zipped(npy_header((200,) * 3) + bytes(10**5)), "damaged: EOF"),
    "header without end": (
        zipped(b"\x93NUMPY\x02\x00" + struct.pack("<I", 2**32 - 1) + bytes(10**6)),
        "its header would have 4,294,967,295 bytes",
    ),
    "packed by lzma": (
        zipped(npy_header((9, 9, 9)) + bytes(1458), zipfile.ZIP_LZMA),
        "packed in a way that NumPy does not write",
    ),
    "half a zip": (archive(volume=STACK)[:3000], "damaged: File is not a zip file"),
    "two volumes": (archive(a=STACK, b=STACK), "holds the arrays a, b; name the volume"),
    "bad spacing": (archive(volume=STACK, spacing=[0, 1, 1]), "must be three positive numbers"),
    "bad axes": (archive(volume=STACK, axes="XYZ"), r"axes \(='XYZ'\) must name each axis"),
    "half a gzip": (PACKED[: len(PACKED) // 2], "cut short or damaged"),
    "a wrong bit": (PACKED[:-6] + bytes([PACKED[-6] ^ 1]) + PACKED[-5:], "cut short or damaged"),
    "nifti cut": (bytes(nifti())[:2000], "the file is cut short"),
    "nifti bomb": (
        gzip.compress(changed("<8h", 40, 3, 32767, 32767, 32767, 1, 1, 1, 1) + bytes(10**6)),
        "more than the limit",
    ),
    "nifti rest": (gzip.compress(bytes(nifti()) + bytes(10**6)), "goes on far behind its voxels"),
    "nifti offset": (changed("<f", 108, 1e9), "cannot be"),
    "nifti type": (changed("<h", 70, 9999), "damaged: data code 9999"),
    "nifti flat": (changed("<8h", 40, 2, 24, 20, 1, 1, 1, 1, 1), "has 2 axes"),
    "tiff cut": (b"II*\0" + bytes([8, 0, 0, 0, 9]), "damaged"),
    "tiff bomb": (deflate_bomb(), "unpacks to more than it should"),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_file_is_one_sentence(what: str, tmp_path: Path) -> None:
    content, words = HOSTILE[what]
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(DataError, match=words) as caught:
        read_volume(tmp_path / "a")
    assert "\n" not in str(caught.value)
    assert not re.search(r"\.$", str(caught.value))


@pytest.mark.parametrize("texts", [{"volume": "x"}, {"axes": "DHW"}, {"spacing": "1"}])
def test_a_text_that_unpacks_to_much_is_never_unpacked(texts, tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    ((name, word),) = texts.items()
    wide = np.full(16, word, "<U1048576")  # 64 MiB of zeros, which pack to almost nothing
    np.savez_compressed(path, **{"volume": STACK, name: wide})
    tracemalloc.start()
    with pytest.raises(DataError, match=r"too large|no whole numbers"):
        read_volume(path)
    taken = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert taken < 2**23
    np.save(tmp_path / "a.npy", np.full((6, 20, 24), word, "<U9"))
    with pytest.raises(DataError, match="no whole numbers"):
        read_volume(tmp_path / "a.npy")


def test_tiffs_that_are_no_stack_are_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, STACK[0])
    with pytest.raises(DataError, match="is a picture: it has no axis of slices"):
        read_volume(path)
    with tifffile.TiffWriter(path) as file:
        file.write(STACK[0])
        file.write(STACK[0, :10])
    with pytest.raises(DataError, match="2 images of different shapes"):
        read_volume(path)
    tifffile.imwrite(
        path, np.zeros((2, 3, 9, 9), np.uint16), imagej=True, metadata={"axes": "TZYX"}
    )
    with pytest.raises(DataError, match=r"with the axes TZYX .* is no volume"):
        read_volume(path)
    pages = [Image.fromarray(page) for page in STACK.astype(np.uint8)]
    for compression, words in (("tiff_lzw", "imagecodecs"), ("jpeg", "JPEG. is not read")):
        pages[0].save(path, save_all=True, append_images=pages[1:], compression=compression)
        with pytest.raises(DataError, match=words):
            read_volume(path)
    with pytest.raises(DataError, match="no such file"):
        read_volume(tmp_path / "none.npy")
    os.mkfifo(tmp_path / "pipe.npy")
    with pytest.raises(DataError, match="not a regular file"):
        read_volume(tmp_path / "pipe.npy")
