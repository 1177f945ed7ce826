"""How numbers and foreign names are written."""

import pytest

from convarium.report import wording


@pytest.mark.parametrize(
    ("share", "n", "text"),
    [
        (0.985, 270, "98.5\xa0%"),
        (1.0, 270, "100.0\xa0%"),
        (0.0, 270, "0.0\xa0%"),
        (0.9331, 10_000, "93.31\xa0%"),
        (float("nan"), 0, wording.MISSING),
        (None, 0, wording.MISSING),
    ],
)
def test_percent(share: float | None, n: int, text: str) -> None:
    assert wording.percent(share, n) == text


def test_one_error_in_many_is_never_rounded_to_all_or_nothing() -> None:
    assert wording.percent(1 - 1e-7, 10_000_000) == "99.99\xa0%"
    assert wording.percent(1e-7, 10_000_000) == "0.01\xa0%"


def test_clean_text_can_be_written_as_utf8_and_holds_no_reordering_marks() -> None:
    hostile = "a\x00\x1b[31m\ud800\udcff\u202eb\ufffe"
    cleaned = wording.clean(hostile)
    assert cleaned.encode("utf-8").decode("utf-8") == cleaned
    assert cleaned == "a��[31m���b�"


def test_wide_letters_take_two_columns() -> None:
    assert wording.shorten("日本語の名前", 12) == "日本語の名前"
    assert wording.shorten("日本語の名前", 11) == "日本語の名…"
    assert wording.columns(wording.shorten("日本語" * 50, 18)) <= 18
    assert wording.width("日", 10) == 2 * wording.width("a", 10)


def test_settings_in_words() -> None:
    rows = wording.flatten({"a": {"b": True, "c": None}, "list": list(range(20)), "rate": 0.1})
    assert rows == [
        ("a.b", "yes"),
        ("a.c", "none"),
        ("list", "0, 1, 2, 3, 4, 5, 6, 7 … (20 in all)"),
        ("rate", "0.1"),
    ]


def test_numbers() -> None:
    assert [wording.number(x) for x in (0.08312, 2.309, 12345.6, float("inf"))] == [
        "0.0831",
        "2.31",
        "12,346",
        wording.MISSING,
    ]


@pytest.mark.parametrize(
    ("n", "text"),
    [
        (0, "0"),
        (71, "71"),
        (999, "999"),
        (1000, "1.00 k"),
        (9_994, "9.99 k"),
        (9_996, "10.0 k"),
        (99_960, "100 k"),
        (999_499, "999 k"),
        (999_500, "1.00 M"),
        (4_089_184_256, "4.09 G"),
        (37_745_884_192, "37.7 G"),
        (2.5e16, "25.0 P"),
        (4e18, "4000 P"),
    ],
)
def test_large_numbers_have_three_digits_and_a_unit(n: float, text: str) -> None:
    assert wording.short(n) == text


def test_axes_that_are_equal_are_told_once() -> None:
    assert wording.axes((427, 427)) == "427"
    assert wording.axes((3, 5, 3)) == "3x5x3"
    assert wording.axes((0.5, 2)) == "0.5x2"
    assert wording.axes((1_234_567,)) == "1234567"
