"""The data's part of a card."""

from __future__ import annotations

import json

from convarium import data


def test_the_card_says_what_a_stranger_needs() -> None:
    dataset = data.open_dataset("digits")
    parts = data.split(dataset, seed=4)
    card = data.build_card(parts, data.fit_preprocessing(parts.train))
    assert json.loads(json.dumps(card)) == card
    assert card["task"] == "classification"
    assert card["classes"] == list("0123456789")
    assert card["data"]["source"] == "digits"
    assert card["data"]["fingerprint"] == data.open_dataset("digits").fingerprint()
    assert sum(card["data"]["counts"].values()) == 1797
    assert sum(card["data"]["class_counts"]["test"]) == card["data"]["counts"]["test"]
    assert card["preprocessing"]["input_shape"] == [1, 8, 8]
    assert parts.settings == {"validation": 0.15, "test": 0.15, "seed": 4}
