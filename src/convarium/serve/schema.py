"""What the server's OpenAPI document says of bodies and answers."""

from __future__ import annotations

from typing import Any, Final

from convarium.serve.bodies import NETCDF
from convarium.serve.finer import MEDIA
from convarium.serve.samples import READERS

_BINARY: Final = {"schema": {"type": "string", "format": "binary"}}
_INPUTS: Final = {
    "type": "object",
    "required": ["inputs"],
    "properties": {
        "inputs": {
            "type": "array",
            "minItems": 1,
            "description": "Images: numbers 0 to 255, or a file in base64. Texts: strings. Series: "
            "numbers or null, (T,) or (C, T), or an object with values and rate. Volumes: numbers, "
            "(D, H, W) or with channels, or a file in base64.",
            "items": {
                "anyOf": [
                    {"type": "string"},
                    {"type": "array", "items": {}},
                    {
                        "type": "object",
                        "required": ["values"],
                        "properties": {
                            "values": {"type": "array", "items": {}},
                            "rate": {"type": "number", "exclusiveMinimum": 0},
                        },
                    },
                ]
            },
        }
    },
}
#: The body of a request.
BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": _INPUTS},
            **{media: _BINARY for reader in READERS.values() for media in reader.media},
            "text/plain": {"schema": {"type": "string"}},
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {"file": {"type": "array", "items": _BINARY["schema"]}},
                }
            },
        },
    }
}
#: The body of a request with fields.
FIELDS: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {
            **dict.fromkeys(MEDIA, _BINARY),
            "multipart/form-data": {
                "schema": {"type": "object", "properties": {"file": _BINARY["schema"]}}
            },
        },
    }
}
_REFUSAL: Final = {
    "application/json": {
        "schema": {
            "type": "object",
            "required": ["error", "reason"],
            "properties": {"error": {"type": "string"}, "reason": {"type": "string"}},
        }
    }
}
_WHY: Final = {
    400: "the body is not made as its type says, the run is of another kind, or several runs are "
    "served and none is named",
    401: "no token, or a wrong one",
    404: "no such run",
    406: "no picture of such samples",
    408: "the body came too slowly",
    413: "too long, too many samples, or too many pixels or cells",
    415: "a type that the run does not take",
    422: "a sample that cannot be read, or an option that is not allowed",
    500: "an error in the server",
    501: "the server lacks a package that the request needs",
    503: "busy, or late; Retry-After says when to come again",
}


def answers(key: str, item: dict[str, Any]) -> dict[int | str, dict[str, Any]]:
    """What may be answered where samples are sent: a list under a key, or a refusal.

    Args:
        key: of the list.
        item: schema of one of its entries.
    """
    properties = {
        "run": {"type": "string"},
        "version": {"type": "string"},
        key: {"type": "array", "items": item},
    }
    schema = {"type": "object", "required": [*properties], "properties": properties}
    found = {"description": "done", "content": {"application/json": {"schema": schema}}}
    return {200: found, **refusals()}


def heat() -> dict[int | str, dict[str, Any]]:
    """What may be answered where a heatmap is asked for."""
    found = answers("values", {})
    found[200]["content"]["image/png"] = _BINARY
    return found


def fields() -> dict[int | str, dict[str, Any]]:
    """What may be answered where fields are sent."""
    return {200: {"description": "done", "content": {NETCDF: _BINARY}}, **refusals()}


def refusals(*codes: int) -> dict[int | str, dict[str, Any]]:
    """Statuses with which nothing is done, all or some of them."""
    return {code: {"description": _WHY[code], "content": dict(_REFUSAL)} for code in codes or _WHY}


#: What each address may answer.
ANSWERS: Final = {
    "predict": answers("predictions", {"type": "object"}),
    "embed": answers("vectors", {"type": "array", "items": {"type": "number"}}),
    "explain": heat(),
    "downscale": fields(),
}
#: What else where nothing is sent.
MISSING: Final = refusals(400, 404)
