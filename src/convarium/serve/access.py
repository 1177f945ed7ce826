"""Who may ask: a bearer token, and no public address without one."""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Collection
from pathlib import Path
from typing import Final

from convarium.errors import OptionError

_SHORTEST: Final = 16
_LOCAL: Final = "localhost"
#: Names by which a browser of this machine asks for a server of this machine.
LOCAL_HOSTS: Final = (_LOCAL, "127.0.0.1", "[::1]")


def read_token(path: str | Path) -> str:
    """The token that a file holds, without blanks around it.

    Raises:
        OptionError: the file cannot be read, or holds no token of 16 signs or more.
    """
    try:
        token = Path(path).read_text(encoding="ascii").strip()
    except (OSError, ValueError) as error:
        raise OptionError(f"The token file {path} cannot be read as plain text.") from error
    if len(token) < _SHORTEST or not token.isprintable() or " " in token:
        raise OptionError(
            f"The token file {path} must hold {_SHORTEST} signs or more without blanks, such as "
            "'openssl rand -hex 32' gives."
        )
    return token


def check_bind(host: str, token: str | None, *, forced: bool = False) -> None:
    """Refuse an address that others reach where nobody has to show a token.

    Args:
        host: an address, or "localhost".
        token: that is asked for; None asks for none.
        forced: do it all the same.

    Raises:
        OptionError: so.
    """
    if token is None and not forced and not is_local(host):
        raise OptionError(
            f"--host (={host}) lets others in, and anybody could ask; give a --token-file, keep to "
            "127.0.0.1, or add --allow-public-without-token."
        )


def is_local(host: str) -> bool:
    """Whether only this machine reaches an address.

    >>> is_local("127.0.0.1"), is_local("::1"), is_local("0.0.0.0"), is_local("example.org")
    (True, True, False, False)
    """
    if host == _LOCAL:
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def names_host(header: str | None, hosts: Collection[str]) -> bool:
    """Whether the header Host has one of some names, with any port.

    A page of another name that is made to mean this machine sends its own name.

    >>> names_host("localhost:8000", ["localhost"]), names_host("[::1]:80", ["[::1]"])
    (True, True)
    >>> names_host("evil.example:8000", ["localhost"]), names_host(None, ["localhost"])
    (False, False)
    """
    name = (header or "").strip().lower()
    bare, colon, port = name.rpartition(":")
    if colon and port.isdecimal():
        name = bare
    return name in {each.lower() for each in hosts}


def same_origin(header: str | None, host: str | None) -> bool:
    """Whether the header Origin, where a browser sends one, is that of a page of this server.

    >>> same_origin(None, "localhost:80"), same_origin("http://localhost:80", "localhost:80")
    (True, True)
    >>> same_origin("http://localhost:81", "localhost:80"), same_origin("null", "localhost:80")
    (False, False)
    """
    return header is None or header.lower() == f"http://{(host or '').strip().lower()}"


def allowed(header: str | None, token: str | None) -> bool:
    """Whether the header Authorization shows the token; the time it takes tells nothing of it.

    >>> allowed("Bearer abc", "abc"), allowed("Bearer abd", "abc"), allowed(None, None)
    (True, False, True)
    """
    if token is None:
        return True
    scheme, _, shown = (header or "").partition(" ")
    same = hmac.compare_digest(shown.strip().encode("utf-8", "surrogatepass"), token.encode())
    return same and scheme.lower() == "bearer"
