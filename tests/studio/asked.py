"""Asking a function of the studio until its work is done."""

from __future__ import annotations

import time

import pytest


def settled(ask, *given, **named):
    """What a function answers once its work is done."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        told = ask(*given, **named)
        if told["state"] == "done":
            return told
        assert told["state"] in ("waiting", "running")
    pytest.fail("the work did not end")
