"""Memory, units, odd headers and kinds of volumes, against nibabel, tifffile and NumPy."""

from __future__ import annotations

import gzip
import io
import itertools
import struct
import tracemalloc
import zipfile
from pathlib import Path

import nibabel
import numpy as np
import pytest
import tifffile
from PIL import Image

from convarium import data
from convarium.data import kinds
from convarium.data.volumes.nifti import as_stored
from convarium.data.volumes.samples import facts_of
from convarium.data.volumes.volume import MAX_VALUES, check_size
from convarium.errors import DataError

RNG = np.random.default_rng(0)
STACK = RNG.integers(0, 4000, (6, 20, 24)).astype(np.int16)
TURNED = np.diag([-2.0, 1, 3, 1])


def nifti(values: np.ndarray = STACK, scale=None, offset=None, units=None) -> bytes:
    """NIfTI of `(D, H, W, ...)` stored from right to left, (3, 1, 2) apart."""
    turned = values.transpose(2, 1, 0, *range(3, values.ndim))
    content = bytearray(nibabel.Nifti1Image(turned, TURNED).to_bytes())
    if scale is not None:
        struct.pack_into("<2f", content, 112, *scale)
    if offset is not None:
        struct.pack_into("<f", content, 108, offset)
    if units is not None:
        content[123] = units
    return bytes(content)


def write(path: Path, kind: str) -> int:
    """A file of a kind, and the bytes of a value, 4 at least."""
    values = RNG.integers(0, 99, (48, 64, 64)).astype(kind.split()[0])
    if "nan" in kind:
        values[3, 4, 5] = np.nan
    if path.suffix == ".gz":
        scale = (0.5, -7) if "scaled" in kind else None
        path.write_bytes(gzip.compress(nifti(values, scale), 1))
    elif path.suffix == ".npz":
        np.savez_compressed(path, volume=values)
    elif path.suffix == ".tif":
        tifffile.imwrite(path, values, compression="zlib", photometric="minisblack")
    else:
        np.save(path, np.asfortranarray(values) if "fortran" in kind else values)
    return max(4, values.dtype.itemsize)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.nii.gz", "int16"),
        ("a.nii.gz", "int16 scaled"),
        ("a.nii.gz", "float32"),
        ("a.nii.gz", "float64"),
        ("a.npy", "float32 with nan"),
        ("a.npy", "float64 with nan"),
        ("a.npy", "float64 fortran"),
        ("a.npz", "float64"),
        ("a.tif", "float32"),
    ],
)
def test_a_volume_takes_two_and_a_half_times_its_bytes_at_most(name, kind, tmp_path: Path) -> None:
    path = tmp_path / name
    each = write(path, kind)
    steps = data.VolumePreprocessing((1, 9, 9, 9), mean=(0,), std=(1,), classes=("a",))
    steps.apply(data.read_volume(path))  # what is imported is not counted
    tracemalloc.start()
    volume = data.read_volume(path)
    facts_of(volume)
    steps.apply(volume)
    taken = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert taken < 2.5 * each * volume.values.size + 2**18


def test_the_limit_is_one_of_bytes() -> None:
    for kind, most in (("int8", 1), ("int16", 1), ("float32", 1), ("float64", 2), ("int64", 2)):
        check_size((MAX_VALUES // most,), np.dtype(kind))
        with pytest.raises(DataError, match=f"values of {kind} are more than the limit"):
            check_size((MAX_VALUES // most + 1,), np.dtype(kind))


@pytest.mark.parametrize("scale", [(0.1, -7.3), (2, 0), (1, 5), (0, 5), (np.inf, 5), (np.nan, 0)])
def test_slope_and_intercept_are_nibabels_rounded_to_float32(scale, tmp_path: Path) -> None:
    (tmp_path / "a.nii").write_bytes(nifti(scale=scale))
    found = data.read_volume(tmp_path / "a.nii").values[0]
    exact = np.asarray(nibabel.as_closest_canonical(nibabel.load(tmp_path / "a.nii")).dataobj).T
    np.testing.assert_array_equal(found, exact.astype(np.float32))
    assert found.dtype == (np.int16 if exact.dtype == np.int16 else np.float32)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"scale": (1, np.nan)}, "invalid intercept"),
        ({"scale": (2, np.inf)}, "invalid intercept"),
        ({"offset": 0}, "the voxels at byte 0, which cannot be"),
        ({"offset": 348}, "vox offset 348 too low"),
        ({"offset": -352}, "too low|cannot be"),
        ({"offset": np.nan}, "damaged|cannot be"),
        ({"offset": np.inf}, "damaged|cannot be"),
    ],
)
def test_a_header_that_cannot_be_is_one_sentence(changes, words, tmp_path: Path) -> None:
    (tmp_path / "a.nii").write_bytes(nifti(**changes))
    with pytest.raises(DataError, match=words):
        data.read_volume(tmp_path / "a.nii")


@pytest.mark.parametrize("more", [(), (1,), (3,), (3, 1), (1, 3), (1, 1)])
def test_ones_at_the_end_of_a_nifti_shape_are_left_out(more, tmp_path: Path) -> None:
    values = RNG.integers(0, 99, (4, 5, 6, *more)).astype(np.int16)
    (tmp_path / "a.nii").write_bytes(nifti(values))
    channels = values.reshape(4, 5, 6, -1)[:, :, ::-1]
    found = data.read_volume(tmp_path / "a.nii").values
    np.testing.assert_array_equal(found, channels.transpose(3, 0, 1, 2))


@pytest.mark.parametrize(("code", "factor", "unit"), [
    (0, 1, ""), (1, 1000, "mm"), (2, 1, "mm"), (3, 0.001, "mm"), (2 + 8, 1, "mm"), (7, 1, ""),
])  # fmt: skip
def test_nifti_units_become_millimetres(code, factor, unit, tmp_path: Path) -> None:
    (tmp_path / "a.nii").write_bytes(nifti(units=code))
    found = data.read_volume(tmp_path / "a.nii")
    assert found.unit == unit
    assert found.spacing == pytest.approx((3 * factor, factor, 2 * factor), rel=1e-12)
    canonical = nibabel.as_closest_canonical(nibabel.load(tmp_path / "a.nii"))
    np.testing.assert_allclose(found.affine[:3], factor * canonical.affine[:3])


@pytest.mark.parametrize("codes", [*itertools.islice(itertools.product("RL", "AP", "SI"), 1, 8)])
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 0, 2)])
def test_a_map_goes_back_to_the_axes_of_its_file(codes, order, tmp_path: Path) -> None:
    own = nibabel.orientations.axcodes2ornt([codes[k] for k in order])
    affine = np.diag([2.0, 1, 3, 1]) @ nibabel.orientations.inv_ornt_aff(own, (4, 5, 6))
    values = RNG.normal(size=(4, 5, 6)).astype(np.float32)
    image = nibabel.Nifti1Image(values, affine)
    image.header.set_xyzt_units("micron", "sec")
    nibabel.save(image, tmp_path / "a.nii.gz")
    volume = data.read_volume(tmp_path / "a.nii.gz")
    back = nibabel.Nifti1Image.from_bytes(as_stored(volume.values[0], volume))
    np.testing.assert_array_equal(np.asarray(back.dataobj), values)
    np.testing.assert_array_equal(back.affine, affine)
    assert back.header.get_xyzt_units()[0] == "micron"
    with pytest.raises(DataError, match="did not come as NIfTI"):
        as_stored(values, data.Volume(values[None]))


@pytest.mark.parametrize(
    ("unit", "factor"),
    [("mm", 1), ("micron", 1e-3), ("um", 1e-3), ("\\u00B5m", 1e-3), ("inch", 25.4), ("cm", 10),
     ("pixel", None), (None, None)],
)  # fmt: skip
def test_imagej_units_become_millimetres(unit, factor, tmp_path: Path) -> None:
    told = {"spacing": 3, "axes": "ZYX"} | ({} if unit is None else {"unit": unit})
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, STACK, imagej=True, resolution=(2, 4), metadata=told)
    found = data.read_volume(path)
    expected = np.array([3, 0.25, 0.5]) * (factor or 1)
    assert found.spacing == pytest.approx(tuple(expected), rel=1e-9)
    assert found.unit == ("mm" if factor else "")


@pytest.mark.parametrize(
    ("units", "steps", "unit"),
    [
        ((None, None, None), (0.002, 0.0005, 0.00025), "mm"),
        (("mm", "mm", "mm"), (2, 0.5, 0.25), "mm"),
        (("mm", "\N{MICRO SIGN}m", "nm"), (2, 0.0005, 0.25e-6), "mm"),
        (("pixel", "pixel", "pixel"), (2, 0.5, 0.25), ""),
        (("mm", "pixel", "mm"), (1, 1, 1), ""),
    ],
)
def test_ome_units_become_millimetres(units, steps, unit, tmp_path: Path) -> None:
    told: dict[str, object] = {"axes": "ZYX"}
    for axis, size, name in zip("ZYX", (2.0, 0.5, 0.25), units, strict=True):
        told[f"PhysicalSize{axis}"] = size
        told |= {} if name is None else {f"PhysicalSize{axis}Unit": name}
    tifffile.imwrite(tmp_path / "a.ome.tif", STACK, metadata=told)
    found = data.read_volume(tmp_path / "a.ome.tif")
    assert found.spacing == pytest.approx(steps, rel=1e-12)
    assert found.unit == unit


def test_an_archives_member_that_goes_on_is_refused(tmp_path: Path) -> None:
    content = io.BytesIO()
    np.save(content, STACK)
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("volume.npy", content.getvalue() + b"more")
    with pytest.raises(DataError, match="goes on behind its array"):
        data.read_volume(tmp_path / "a.npz")


@pytest.mark.parametrize("type", ["uint8", "uint16", "uint32", "int64", "float32", "float64"])
@pytest.mark.parametrize(("shape", "stack"), [((5, 9, 9), True), ((9, 9), False)])
def test_stacks_of_any_type_are_seen(type: str, shape, stack: bool, tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.zeros(shape, type), photometric="minisblack", bigtiff=type == "int64")
    assert kinds.is_stack(str(path)) is stack


def test_imagej_channels_are_a_picture_and_its_slices_a_stack(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    for axes, shape, stack in (
        ("CYX", (3, 9, 9), False), ("ZYX", (12, 9, 9), True), ("ZCYX", (4, 3, 9, 9), True),
    ):  # fmt: skip
        tifffile.imwrite(path, np.zeros(shape, np.uint8), imagej=True, metadata={"axes": axes})
        assert kinds.is_stack(str(path)) is stack
    path.write_bytes(path.read_bytes()[:60])
    assert not kinds.is_stack(str(path))


def test_without_tifffile_pages_of_one_size_are_a_stack(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(kinds.importlib.util, "find_spec", lambda name: None)
    pages = [Image.new("L", (9, side)) for side in (9, 9, 8)]
    for count, stack in ((1, False), (2, True)):
        pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:count])
        assert kinds.is_stack(str(tmp_path / "a.tif")) is stack
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[2:])
    assert not kinds.is_stack(str(tmp_path / "a.tif"))


@pytest.mark.parametrize("count", [33, 63, 64, 100])
def test_the_files_that_are_looked_into_are_evenly_spaced(count, tmp_path, monkeypatch) -> None:
    looked: list[int] = []
    monkeypatch.setattr(kinds, "is_stack", lambda path: bool(looked.append(int(path[-7:-4]))))
    kinds.kind_of("", data.names.Names.of([f"{k:03}.tif" for k in range(count)]))
    assert len(looked) == 32
    assert looked[0] == 0
    assert max(np.diff([*looked, count])) - min(np.diff([*looked, count])) <= 1


def test_the_kind_that_is_asked_for_decides_arrays(tmp_path: Path) -> None:
    values = RNG.integers(0, 255, (6, 3, 9, 9)).astype(np.uint8)
    np.savez(tmp_path / "d.npz", x=values, y=np.arange(6) % 2, spacing=(4, 1, 1))
    assert data.open_dataset(tmp_path / "d.npz").kind == "images"
    found = data.open_dataset(tmp_path / "d.npz", kind="volumes").read(2)
    np.testing.assert_array_equal(found.values[0], values[2])
    assert found.spacing == (4, 1, 1)
    for axes, moved in (("DHW", values[:, None]), ("WHD", values.swapaxes(1, 3)[:, None])):
        np.savez(tmp_path / "e.npz", x=values, y=np.arange(6) % 2, axes=axes)
        dataset = data.open_dataset(tmp_path / "e.npz")
        np.testing.assert_array_equal(dataset.read(5).values, moved[5])
    for name, value in (("axes", "DH"), ("spacing", (1, 0, 1))):
        np.savez(tmp_path / "f.npz", x=values, y=np.arange(6), **{"axes": "DHW", name: value})
        with pytest.raises(DataError, match=f"f.npz: {name} .*must"):
            data.open_dataset(tmp_path / "f.npz")
    np.savez(tmp_path / "f.npz", x=values[:, 0], y=np.arange(6))
    with pytest.raises(DataError, match=r"x in .*f.npz: .* \(9, 9\) has 2 axes"):
        data.open_dataset(tmp_path / "f.npz", kind="volumes")
    (tmp_path / "a-images-idx3-ubyte").write_bytes(struct.pack(">4I", 0x803, 6, 3, 3) + bytes(54))
    (tmp_path / "a-labels-idx1-ubyte").write_bytes(struct.pack(">2I", 0x801, 6) + bytes(6))
    with pytest.raises(DataError, match="idx3-ubyte holds images, and volumes are asked for"):
        data.open_dataset(tmp_path / "a-images-idx3-ubyte", kind="volumes")
