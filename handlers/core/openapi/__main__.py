"""Print the document of stage prod: what ``make openapi`` writes to docs/openapi.json."""

import sys

from handlers.core.openapi import document
from handlers.core.openapi.deployment import PROD

sys.stdout.write(document.text(PROD, indent=2) + "\n")
