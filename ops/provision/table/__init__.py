"""The global table: what the stage file asks for, what is there, the difference, and how it is carried out.

Modules: ``desired``, ``world``, ``planning`` and ``writers`` as in ``ops.provision``; ``scaling`` (provisioned
capacity) and ``leaving`` (a replica that is to go) have all of theirs in one place.
"""
