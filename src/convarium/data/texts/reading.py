"""One stated way from bytes to a text, and from a text to what is compared.

=====================  ====================================================================
what is in the file    what comes out
=====================  ====================================================================
UTF-8                  the text; a byte order mark at its start is dropped
UTF-16, UTF-32         the text, where a byte order mark says so
anything else          unreadable, with the place of the first byte that is not UTF-8: another
                       encoding is never guessed, since a wrong guess reads as letters
control characters     blanks, NUL among them; so are line ends and tabs
nothing but blanks     an empty text, which is left out and listed
=====================  ====================================================================
"""

from __future__ import annotations

import codecs
import re
import unicodedata
from typing import Final

from convarium.errors import DataError

_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16's, which it begins with
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
EMPTY: Final = "the text is empty"
_WORD: Final = re.compile(r"\w+|[^\w\s]")
_BLANKS: Final = dict.fromkeys((*range(0x20), *range(0x7F, 0xA0), 0xFEFF), " ")


def decoded(content: bytes) -> str:
    r"""The text of a file.

    Raises:
        DataError: the bytes are no text in UTF-8; the text is the reason alone.

    >>> decoded(b"\xef\xbb\xbfcaf\xc3\xa9"), decoded(b"\xff\xfea\x00")
    ('café', 'a')
    """
    mark, encoding = next((pair for pair in _MARKS if content.startswith(pair[0])), (b"", "utf-8"))
    try:
        return content[len(mark) :].decode(encoding)
    except UnicodeDecodeError as error:
        raise DataError(not_text(error)) from error


def not_text(error: UnicodeDecodeError) -> str:
    """Why bytes are no text, and what helps."""
    byte = error.object[error.start]
    return f"not {error.encoding.upper()}: byte 0x{byte:02X} at {error.start}; save it as UTF-8"


def plain(text: str) -> str:
    r"""The text with a blank for each control character, and for each byte order mark.

    >>> plain("a\x00b\tc")
    'a b c'
    """
    return text.translate(_BLANKS)


def is_empty(text: str) -> bool:
    r"""Whether a text has nothing but blanks and control characters.

    >>> is_empty(" \x00\n"), is_empty("?")
    (True, False)
    """
    return not plain(text).strip()


def compared(text: str) -> list[str]:
    r"""The words and signs of a text as it is compared with others: NFKC, without upper case.

    >>> compared("Two  WORDS,\nﬁne")
    ['two', 'words', ',', 'fine']
    """
    return _WORD.findall(unicodedata.normalize("NFKC", plain(text)).casefold())
