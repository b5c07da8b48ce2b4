"""Chromium as npm ships it: unpacked once into ``.atoll/browser/``, with the libraries and fonts it brings along.

Nothing is downloaded and nothing is installed: the package of ``node_modules`` is enough on a plain Debian.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

from ops.stage import ROOT

PACKAGE = ROOT / "node_modules" / "@sparticuz" / "chromium"
UNPACKED = ROOT / ".atoll" / "browser"
# Node has Brotli; Python has not.
_DECOMPRESS = """
const {createReadStream, createWriteStream} = require("node:fs");
const {createBrotliDecompress} = require("node:zlib");
const {pipeline} = require("node:stream/promises");
const [source, target] = process.argv.slice(1);
pipeline(createReadStream(source), createBrotliDecompress(), createWriteStream(target))
  .catch((error) => { console.error(String(error)); process.exit(1); });
"""

# The package's own configuration names directories of the machine it was made for.
_FONTS = """<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "urn:fontconfig:fonts.dtd">
<fontconfig>
  <dir prefix="relative">fonts</dir>
  <dir>/usr/share/fonts</dir>
  <cachedir>CACHE</cachedir>
  <match target="pattern">
    <edit name="family" mode="append_last"><string>Open Sans</string></edit>
  </match>
</fontconfig>
"""

ARGUMENTS = [
    "--headless=shell",
    "--no-sandbox",  # continuous integration runs as root in a container
    "--no-zygote",
    "--disable-gpu",
    "--disable-webgl",
    "--disable-dev-shm-usage",
    "--font-render-hinting=none",
]


def unpack() -> Path:
    """The directory that holds ``chromium``, ``lib/`` and ``fonts/``; made when it is not there.

    Parallel test processes may call this at the same time: each unpacks apart, and the first to finish wins.
    """
    version = (PACKAGE / "package.json").stat().st_mtime_ns
    target = UNPACKED / f"chromium-{version}"
    if target.exists():
        return target
    UNPACKED.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=UNPACKED, prefix="unpacking-") as scratch:
        made = Path(scratch) / "made"
        made.mkdir()
        _decompress(PACKAGE / "bin" / "chromium.br", made / "chromium")
        (made / "chromium").chmod(0o755)
        for name in ("al2023", "fonts"):
            archive = Path(scratch) / f"{name}.tar"
            _decompress(PACKAGE / "bin" / f"{name}.tar.br", archive)
            with tarfile.open(archive) as tar:
                tar.extractall(made / name, filter="data")
        (made / "fonts" / "fonts.conf").write_text(_FONTS.replace("CACHE", str(target / "cache")))
        try:
            made.rename(target)
        except OSError:
            if not target.exists():
                raise
    return target


def environment(unpacked: Path) -> dict[str, str]:
    """The environment Chromium needs to find what it brings along."""
    libraries = [str(unpacked / "al2023" / "lib"), os.environ.get("LD_LIBRARY_PATH", "")]
    return {
        **os.environ,
        "LD_LIBRARY_PATH": ":".join(path for path in libraries if path),
        "FONTCONFIG_PATH": str(unpacked / "fonts"),
    }


def _decompress(source: Path, target: Path) -> None:
    node = shutil.which("node")
    assert node, "Node.js is needed to unpack Chromium: install Node.js 20 or newer"
    subprocess.run([node, "-e", _DECOMPRESS, str(source), str(target)], check=True, timeout=120)
