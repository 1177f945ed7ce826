"""Colours that can be read on light and on dark paper."""

import pytest

from convarium.report import palette


@pytest.mark.parametrize("theme", [palette.LIGHT, palette.DARK])
@pytest.mark.parametrize("ground", ["paper", "card"])
@pytest.mark.parametrize("text", ["ink", "soft", "accent"])
def test_text_is_readable(theme: dict[str, str], ground: str, text: str) -> None:
    assert palette.contrast(theme[text], theme[ground]) >= 4.5


@pytest.mark.parametrize("colour", ["hit", "miss"])
def test_counts_are_readable_on_every_cell(colour: str) -> None:
    for strength in (step / 50 for step in range(51)):
        name = palette.text_on(colour, strength)
        for theme in (palette.LIGHT, palette.DARK):
            ground = palette.tinted(theme, colour, strength)
            assert palette.contrast(theme[name], ground) >= 4.5


def test_both_themes_have_the_same_names() -> None:
    assert list(palette.LIGHT) == list(palette.DARK)


def test_contrast_of_a_published_example() -> None:
    # WCAG's own example of the limit: #767676 on white is 4.54.
    assert palette.contrast("#767676", "#ffffff") == pytest.approx(4.54, abs=0.005)
