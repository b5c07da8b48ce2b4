"""Pairs of values: what differs in meaning, and what in spelling or order only."""

from __future__ import annotations

import base64
from typing import Any

# --- values that mean different things ------------------------------------------------------------------------

DIFFERING: dict[str, tuple[Any, Any]] = {
    "changed number": ({"N": "12.5"}, {"N": "12.51"}),
    "changed last one of 38 digits": (
        {"N": "12345678901234567890123456789012345678"},
        {"N": "12345678901234567890123456789012345679"},
    ),
    "changed sign": ({"N": "7"}, {"N": "-7"}),
    "smallest number against zero": ({"N": "1E-130"}, {"N": "0"}),
    "changed string": ({"S": "placed"}, {"S": "Placed"}),
    "trailing blank": ({"S": "placed"}, {"S": "placed "}),
    "composed against decomposed letter": ({"S": "caf\u00e9"}, {"S": "cafe\u0301"}),
    "string with quotes and escapes": ({"S": 'a"\\\n\x00'}, {"S": 'a"\\\n'}),
    "changed letter outside the basic plane": ({"S": "\U0001f3dd"}, {"S": "\U0001f3de"}),
    "changed binary": ({"B": b"\x00\xff\x10"}, {"B": b"\x00\xff\x11"}),
    "binary with one zero byte more": ({"B": b"\x00"}, {"B": b"\x00\x00"}),
    "changed boolean": ({"BOOL": True}, {"BOOL": False}),
    "changed value in a nested map": (
        {"M": {"a": {"M": {"b": {"M": {"c": {"N": "1"}}}}}}},
        {"M": {"a": {"M": {"b": {"M": {"c": {"N": "2"}}}}}}},
    ),
    "changed name in a nested map": ({"M": {"a": {"M": {"b": {"S": "x"}}}}}, {"M": {"a": {"M": {"c": {"S": "x"}}}}}),
    "changed member of a nested list": (
        {"M": {"rows": {"L": [{"L": [{"S": "x"}, {"N": "1"}]}]}}},
        {"M": {"rows": {"L": [{"L": [{"S": "x"}, {"N": "3"}]}]}}},
    ),
    "re-ordered list": ({"L": [{"N": "1"}, {"N": "2"}]}, {"L": [{"N": "2"}, {"N": "1"}]}),
    "list cut otherwise": ({"L": [{"L": [{"S": "a"}]}, {"S": "b"}]}, {"L": [{"L": [{"S": "a"}, {"S": "b"}]}]}),
    "changed member of a string set": ({"SS": ["a", "b", "c"]}, {"SS": ["a", "b", "d"]}),
    "one member more in a number set": ({"NS": ["1", "2"]}, {"NS": ["1", "2", "3"]}),
    "changed member of a binary set": ({"BS": [b"\x01", b"\x02"]}, {"BS": [b"\x01", b"\x03"]}),
    "changed member of a set in a map": ({"M": {"seen": {"NS": ["1", "2"]}}}, {"M": {"seen": {"NS": ["1", "20"]}}}),
    "members joined otherwise": ({"SS": ["ab", "c"]}, {"SS": ["a", "bc"]}),
    "empty string against absent": ({"S": ""}, None),
    "empty list against absent": ({"L": []}, None),
    "empty map against absent": ({"M": {}}, None),
    "empty binary against absent": ({"B": b""}, None),
    "null against absent": ({"NULL": True}, None),
    "null against empty string": ({"NULL": True}, {"S": ""}),
    "empty list against empty map": ({"L": []}, {"M": {}}),
    "empty string against empty binary": ({"S": ""}, {"B": b""}),
    "string against number": ({"S": "1"}, {"N": "1"}),
    "boolean against string": ({"BOOL": True}, {"S": "true"}),
    "boolean against number": ({"BOOL": True}, {"N": "1"}),
    "binary against its base64 as string": ({"B": b"atoll"}, {"S": base64.b64encode(b"atoll").decode()}),
    "string set against number set": ({"SS": ["1", "2"]}, {"NS": ["1", "2"]}),
    "set against list": ({"SS": ["a", "b"]}, {"L": [{"S": "a"}, {"S": "b"}]}),
    "set of one against string": ({"SS": ["a"]}, {"S": "a"}),
}

# --- values that mean the same --------------------------------------------------------------------------------

SAME: dict[str, tuple[Any, Any]] = {
    "re-ordered string set": ({"SS": ["a", "b", "\u00e9", "aa"]}, {"SS": ["\u00e9", "aa", "b", "a"]}),
    "re-ordered number set": ({"NS": ["1", "20", "-3", "0.5"]}, {"NS": ["0.5", "-3", "20", "1"]}),
    "re-ordered binary set": ({"BS": [b"\x00", b"\xff", b""]}, {"BS": [b"", b"\xff", b"\x00"]}),
    "re-ordered nested map": (
        {"M": {"a": {"S": "x"}, "b": {"M": {"c": {"N": "1"}, "d": {"N": "2"}}}}},
        {"M": {"b": {"M": {"d": {"N": "2"}, "c": {"N": "1"}}}, "a": {"S": "x"}}},
    ),
    "re-ordered set in a list in a map": (
        {"M": {"l": {"L": [{"SS": ["p", "q", "r"]}]}}},
        {"M": {"l": {"L": [{"SS": ["r", "q", "p"]}]}}},
    ),
}
SPELLED: dict[str, tuple[Any, Any]] = {
    "1 against 1.00": ({"N": "1"}, {"N": "1.00"}),
    "1 against 1E0": ({"N": "1"}, {"N": "1E0"}),
    "1000 against 1e+3": ({"N": "1000"}, {"N": "1e+3"}),
    "0.5 against .50": ({"N": "0.5"}, {"N": ".50"}),
    "0 against -0": ({"N": "0"}, {"N": "-0"}),
    "0 against 0.00E5": ({"N": "0"}, {"N": "0.00E5"}),
    "leading zeros": ({"N": "-42"}, {"N": "-0042.0"}),
    "38 digits with an exponent": (
        {"N": "12345678901234567890123456789012345678"},
        {"N": "1.2345678901234567890123456789012345678E37"},
    ),
    "respelled members of a number set": ({"NS": ["1", "2.5"]}, {"NS": ["2.50", "1.0"]}),
    "respelled number in a map": ({"M": {"n": {"L": [{"N": "10"}]}}}, {"M": {"n": {"L": [{"N": "1E1"}]}}}),
}
