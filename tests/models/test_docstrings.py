"""What is read from the docstrings of families: every one has what its page needs."""

import pytest

from convarium.models import registry
from convarium.models.docstrings import arguments, cited, family_text, option_words
from convarium.models.options import signature

CLASSES = list(dict.fromkeys(variant.cls for variant in registry.VARIANTS))


@pytest.mark.parametrize("family", registry.FAMILIES, ids=lambda family: family.__name__)
def test_every_family_tells_flow_and_idea(family):
    text = family_text(family.__doc__)
    assert text.title.endswith(".")
    assert "\n" not in text.title
    assert "->" in text.flow
    assert sum(len(paragraph.split()) for paragraph in text.paragraphs) >= 25
    assert all(entry.endswith(".") for entry in (*text.paragraphs, *text.differs))


@pytest.mark.parametrize("variant", registry.VARIANTS, ids=lambda variant: variant.name)
def test_every_row_cites_a_reference_or_is_our_own(variant):
    module = __import__(variant.cls.__module__, fromlist=["__doc__"])
    papers = cited(variant.source, family_text(module.__doc__).references)
    assert len(papers) == (0 if variant.source.startswith("our own") else 1), variant.source


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_every_option_is_described(cls):
    words = option_words(cls)
    assert set(signature(cls)) <= set(words)
    assert all(text.endswith(".") for text in words.values())


def test_parts_in_any_order_are_found():
    text = family_text(
        """One
        line.

            a -> b

               -> c

        First.

        Differs from the paper: not
        much.

        Second.

        References:
            Ann 2001, "A",
            page 3.
            Bo et al. 2002, "B".
        """
    )
    assert text.title == "One line."
    assert text.flow == "a -> b\n\n   -> c"
    assert text.paragraphs == ("First.", "Second.")
    assert text.differs == ("Differs from the paper: not much.",)
    assert text.references == ('Ann 2001, "A", page 3.', 'Bo et al. 2002, "B".')


def test_a_source_cites_by_first_author_and_year():
    papers = ("Bo and Cy 2002, B.", "Bo 2002, program.", "Bo et al. 2003, C.", "Ann 2002, A.")
    assert cited("Bo 2002, table 1", papers) == ["Bo 2002, program."]
    assert cited("Bo and others 2003, table 1", papers) == ["Bo et al. 2003, C."]
    assert cited("our own", papers) == []


def test_a_docstring_without_sections_has_none():
    assert family_text("One line.") == family_text("One line.\n")
    assert family_text("One line.").references == ()
    assert arguments("One line.") == {}
