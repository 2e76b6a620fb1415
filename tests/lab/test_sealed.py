import json
import random

import pytest

from keras_convinit.lab.sealed import sealed, unsealed

pytestmark = pytest.mark.once

VALUES = {"name": "größe \udc80", "numbers": [0.1, 1e300, 3, None, True], "more": {}}


@pytest.mark.parametrize("indent", [None, 1])
def test_values_come_back(indent):
    text = sealed(VALUES, indent)
    assert unsealed(text) == VALUES
    assert text.isascii()


def test_spaces_and_order_do_not_matter():
    values = json.loads(sealed(VALUES))
    assert unsealed(json.dumps(dict(reversed(values.items())), indent=4)) == VALUES


def test_without_a_checksum_it_is_taken_as_it_is():
    assert unsealed(json.dumps(VALUES)) == VALUES


def test_no_changed_byte_is_believed():
    text = sealed({"accuracy": 0.8375, "losses": [1.25, 0.5], "seed": 3})
    draws = random.Random(0)
    unlike = 0
    for place in range(len(text)):
        for _ in range(5):
            other = text[:place] + chr(draws.randrange(32, 127)) + text[place + 1 :]
            try:
                values = unsealed(other)
            except ValueError:
                unlike += 1
                continue
            # Where the word "checksum" itself is hit it stands among the values.
            extra = values.keys() - {"accuracy", "losses", "seed"}
            assert extra or values == unsealed(text)
    assert unlike > 200


@pytest.mark.parametrize("text", ["[1]", "null", "3", "[" * 100_000, '{"a": NaN}', "{"])
def test_other_things_are_refused(text):
    with pytest.raises(ValueError) as raised:
        unsealed(text)
    assert len(str(raised.value)) < 200


def test_numbers_that_are_not_finite_are_not_written():
    with pytest.raises(ValueError):
        sealed({"loss": float("nan")})
