"""Runbooks by hand, in JupyterLab: a start page, a form for a runbook's parameters, and progress as bars.

What always holds: a runbook run by hand passes the same guards and leaves the same record as one run by ``ops run``.
"""
