"""Imported for its effect: what draws charts is loaded, once for all kernels that are forked afterwards.

Nothing is drawn, because the engine that draws starts threads, which no fork takes along.
"""

import vl_convert  # noqa: F401

from ops import slowimports

slowimports.altair()
