"""The API's OpenAPI 3.1 document, made of the code's own definitions: routes, parameters, limits, patterns, problems.

``document.document`` is pure: the same stage gives the same document. What differs by stage is a ``Deployment``, read
from the environment of the function that serves it; all else is imported with the first request for the document, so
that no function starts later for it. ``python -m handlers.core.openapi`` prints the document of stage prod, which is
kept as docs/openapi.json.
"""
