"""Builds ``sketch/native/fuzz.c`` with sanitizers, and writes what it mutates."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

NATIVE = Path(__file__).resolve().parents[2] / "sketch" / "native"
SOURCES = ("fuzz.c", "reader.c", "wire.c", "ion.c", "text.c", "table.c", "blake2b.c", "lanes.c")
SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer")

KEY = {"pk": {"S": "k"}, "sk": {"N": "-1.50e3"}}
ITEM = {
    **KEY,
    "t": {"S": 'é\U0001f600\n"'},
    "m": {"M": {"z": {"L": [{"NULL": True}, {"BOOL": False}]}, "a": {"N": "0.001"}}},
    "s": {"SS": ["b", "a", "b"]},
    "n": {"NS": ["2", "10", "1E1"]},
    "b": {"BS": ["AQ==", "AA=="]},
    "a": {"B": "AAECAwQFBgc="},
}
ION_KEY = '{pk:"k",sk:-1_5.0d2}'
ION_ITEM = (
    r"""{pk:"k",sk:-1_5.0d2,t:"\x41é\U0001F600\ud83d\ude00\n",'quoted':'''long\' one''' '''two''',"""
    r"""m:{z:[null,null.null,false],a:0.001},s:$dynamodb_SS::["b",'''c''',"b"],n:'$dynamodb_NS'::[2.,10d-1,1E0],"""
    "b:$dynamodb_BS::[{{AQ==}},{{ AA== }}],a:{{AAECAwQFBgc=}}}"
)
PAGE = {
    "Items": [ITEM, KEY],
    "Count": 2,
    "ScannedCount": 2,
    "LastEvaluatedKey": KEY,
    "ConsumedCapacity": {"TableName": "t", "CapacityUnits": 128.5},
    "Other": [{"deep": [1, -2.5e3, None, {}]}],
}


class NoSanitizersError(Exception):
    """This machine has no C compiler, or one without the sanitizers."""


def build(directory: Path) -> Path:
    """The fuzzing program, compiled into a directory."""
    compiler = os.environ.get("CC") or shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        raise NoSanitizersError("no C compiler")
    probe = directory / "probe.c"
    probe.write_text("int main(void) { return 0; }\n", encoding="utf-8")
    trial = [compiler, *SANITIZERS, str(probe), "-o", str(directory / "probe")]
    if subprocess.run(trial, capture_output=True, check=False).returncode or _fails(directory / "probe"):
        raise NoSanitizersError(f"{compiler} has no address and undefined sanitizers here")
    program = directory / "fuzz"
    sources = [str(NATIVE / name) for name in SOURCES]
    warnings = ("-std=c11", "-Wall", "-Wextra", "-Werror")
    subprocess.run([compiler, "-O1", "-g", *warnings, *SANITIZERS, *sources, "-o", str(program)], check=True)
    return program


def _fails(program: Path) -> bool:
    return subprocess.run([str(program)], capture_output=True, check=False).returncode != 0


def run(program: Path, directory: Path, seed: int, rounds: int) -> subprocess.CompletedProcess[str]:
    """One bounded run; not zero means that a sanitizer stopped it, and its report is in stderr."""
    change = {"Keys": KEY, "NewImage": ITEM, "OldImage": KEY}
    texts = {
        "whole.page": json.dumps(PAGE),
        "raw.page": json.dumps(PAGE, ensure_ascii=False, separators=(",", ":")),
        "many.page": json.dumps({"Items": [{**ITEM, **{f"n{n}": {"N": str(n)} for n in range(60, 0, -1)}}]}),
        "full.lines": f"{json.dumps({'Item': ITEM})}\n\n{json.dumps({'Item': KEY})}",
        "more.changes": f"{json.dumps(change)}\n{json.dumps({'Keys': KEY})}\n",
        "full.ion": f"$ion_1_0 {{Item:{ION_ITEM}}}\n\n$ion_1_0 {{'Item':{ION_KEY}, other:[1,{{}}]}}",
        "more.ionchanges": f"$ion_1_0 {{Record:{{Keys:{ION_KEY},NewImage:{ION_ITEM}}}}}\n$ion_1_0 {{Keys:{ION_KEY}}}\n",
    }
    for name, text in texts.items():
        (directory / name).write_text(text, encoding="utf-8")
    files = [str(directory / name) for name in texts]
    return subprocess.run(
        [str(program), str(seed), str(rounds), *files], capture_output=True, text=True, timeout=900, check=False
    )
