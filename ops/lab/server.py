"""``python -m ops.lab.server``: JupyterLab, whose process ends when its server has.

A worker thread that reads or writes a file while the server stops may wait for its next work for ever, and the
interpreter for it (AnyIO's worker threads are no daemons). By then the server has closed everything, so that nothing is
lost.
"""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Serve until stopped; never returns."""
    from jupyterlab.labapp import main as serve

    status = 1
    try:
        serve()
        status = 0
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    main()
