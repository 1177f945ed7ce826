"""The error tree, and the words that help."""

from __future__ import annotations

import math

import pytest

from convarium import errors


@pytest.mark.parametrize(
    ("kind", "builtin"),
    [
        (errors.ShapeError, ValueError),
        (errors.OptionError, ValueError),
        (errors.UnknownModelError, LookupError),
        (errors.MissingExtraError, ImportError),
        (errors.DataError, Exception),
        (errors.RunError, Exception),
        (errors.VerificationError, Exception),
    ],
)
def test_every_error_is_a_convarium_error_and_the_builtin_kind(
    kind: type[Exception], builtin: type[Exception]
) -> None:
    assert issubclass(kind, errors.ConvariumError)
    assert issubclass(kind, builtin)
    assert str(kind("one sentence")) == "one sentence"


def test_close_matches_come_best_first_and_at_most_three() -> None:
    names = ["resnet18", "resnet34", "resnet50", "resnet152", "lenet5"]
    assert errors.did_you_mean("resnet180", names).startswith(" Did you mean 'resnet18'")
    assert errors.did_you_mean("resnet", names).count("'") == 6


@pytest.mark.parametrize("word", ["", "completely different"])
def test_a_word_like_nothing_allowed_gets_no_suggestion(word: str) -> None:
    assert errors.did_you_mean(word, ["resnet18"]) == ""
    assert errors.did_you_mean(word, []) == ""


def test_an_installed_module_is_imported() -> None:
    assert errors.import_extra("math", "numbers") is math


def test_a_missing_package_names_the_extra_that_brings_it() -> None:
    with pytest.raises(
        errors.MissingExtraError, match=r"pip install 'convarium\[birds\]'"
    ) as found:
        errors.import_extra("no_such_package_here", "birds")
    assert found.value.name == "no_such_package_here"
    assert isinstance(found.value.__cause__, ImportError)
