"""The edge of the local cloud: plays Route 53 and the custom domain, from the actual records and health checks.

Route 53 stays the only place where routing is configured: hosted zone, record sets, health checks and the alarms that
these name are read through AWS's APIs every two seconds, and nothing else decides which region answers. Each rule that
is played here stands in the docstring of its module, with the page of AWS that says it. What is not played is named
and refused, never ignored: a request for such a name gets a problem, not a guess.

::

    records       what a name's record sets say               healthchecks  whether a health check is healthy
    choosing      which record answers one caller              probing       the probes of the endpoints
    resolvers     what the callers' resolvers still have       zone          all of that, read from the AWS APIs
    explaining    why, as JSON                                 server        forwards requests; ``/_edge/...``
    asking        ``ops edge explain``: asks a running edge
"""
