"""The emulated AWS: runs ministack on loopback, with a small, named set of its internals replaced.

Each replacement exists because AWS behaves otherwise and no API of the emulator can be told so. ``replacements`` is
the one table of them: what is replaced, why, by what, and which test shows it. ``compatibility`` refuses to start on a
ministack that they were not written for. Run as ``python -m ops.local.emulator --port N``.

::

    replacements   the table                                  compatibility  is this the ministack it was written for
    application    puts them in place; ticks                  control        ``/_atoll/...``
    gateway        the two ports, and the faults in front     scopes         account and region of what is going on

    tables         global tables, on ``replication``          rules          targets of rules, on ``retries``
    lambdas        invocations, with their ``workerlog``      apis           requests to an API
    metrics        what services publish, on ``telemetry``    alarms         the state of an alarm
    statistics     of metrics, with fixed bounds
    outages        what is broken on purpose                  fis            experiments, which break it
    userpools      ids that are known in advance              conditions     of CloudFormation templates
    enforcement    what IAM is asked                          healthchecks   of Route 53
    exports        of tables, with their ``exportfiles``

The parts in the lower half are attributes of ``application.Emulator`` by the names of their modules. ministack is
imported when they are made, never with this package: it reads its environment while it is imported.
"""
