from __future__ import annotations

import base64
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from ops.divergence.looking import may_be_long
from sketch import keys
from sketch.table import KEY_FITS

NUMBERS = st.from_regex(r"-?[0-9]{1,38}(\.[0-9]{1,30})?(E-?[0-9]{1,2})?", fullmatch=True)
ATTRIBUTES = st.one_of(
    st.text(max_size=100).map(lambda text: {"S": text}),
    NUMBERS.map(lambda text: {"N": text}),
    st.binary(max_size=100).map(lambda raw: {"B": base64.b64encode(raw).decode()}),
)


@given(st.fixed_dictionaries({"pk": ATTRIBUTES, "sk": ATTRIBUTES}))
def test_key_that_fits_no_cell_is_never_passed_over(key: dict[str, Any]) -> None:
    assert may_be_long(key) or len(keys.pack(key, ("pk", "sk"))) <= KEY_FITS


def test_usual_key_is_passed_over() -> None:
    assert not may_be_long({"pk": {"S": "EVENT#0190b3c2-6f1e-7c42-8d3f-5b6a7c8d9e0f"}, "sk": {"S": "EVENT"}})
