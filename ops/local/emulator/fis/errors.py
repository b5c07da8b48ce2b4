"""Errors of FIS, with the names and statuses of botocore's service model."""

from __future__ import annotations


class FisError(Exception):
    """A request that FIS refuses; ``code`` is what a client sees as the error's code."""

    code = "InternalServerException"
    status = 500


class ValidationException(FisError):  # noqa: N818 (AWS's name)
    """A parameter is missing, unknown or wrong."""

    code = "ValidationException"
    status = 400


class AccessDeniedException(FisError):  # noqa: N818 (AWS's name)
    """The caller's policies do not let it do that."""

    code = "AccessDeniedException"
    status = 403


class ResourceNotFoundException(FisError):  # noqa: N818 (AWS's name)
    """There is no such template or experiment in this account and region."""

    code = "ResourceNotFoundException"
    status = 404


class ConflictException(FisError):  # noqa: N818 (AWS's name)
    """A client token came again with another request."""

    code = "ConflictException"
    status = 409
