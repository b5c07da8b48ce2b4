"""One data file of an export, from S3 as a stream: MD5 and gunzip on the way, and nothing of it kept.

What always holds: what has passed is believed only at the end, when MD5 and gzip's own checksum are right; a connection
that breaks is taken up at the byte where it broke, at most ``ATTEMPTS`` times; memory does not depend on the file.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, cast

from botocore.exceptions import BotoCoreError, ClientError
from isal import igzip_lib
from urllib3.exceptions import HTTPError

from ops.aws import error_code, explained
from ops.divergence.exports.manifests import AGAIN, DataFile, md5_text
from ops.errors import OpsError

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

READ_BYTES = 256 << 10
# Of what is unpacked at once: a file of nothing but zeros is a thousand times its size. Pieces that fit a processor's
# cache are taken a quarter faster than those of a megabyte.
PIECE_BYTES = 128 << 10
ATTEMPTS, BASE_S = 6, 0.2
LOST = (BotoCoreError, HTTPError, OSError)
# Its stub calls the class an instance.
UNPACKING = (cast("type[Exception]", igzip_lib.IsalError), EOFError, ValueError)


class DamagedError(Exception):
    """What arrived is no whole gzip file; says what is wrong with it."""


class Stream:
    """One file, to be gone through once."""

    def __init__(
        self, s3: S3Client, bucket: str, file: DataFile, *, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._s3, self._bucket, self._file, self._sleep = s3, bucket, file, sleep
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._name = f"s3://{bucket}/{file.key}"
        self.size_bytes = 0

    def raw(self) -> Iterator[bytes]:
        """The file as it is in S3.

        Raises:
            OpsError: it is missing, or did not arrive after ``ATTEMPTS``.
        """
        etag, failure = "", ""
        for attempt in range(ATTEMPTS):
            if attempt:
                self._sleep(BASE_S * 2**attempt)
            try:
                answer = self._open(etag)
                etag, body = str(answer.get("ETag", "")), answer["Body"]
                try:
                    while chunk := body.read(READ_BYTES):
                        self.size_bytes += len(chunk)
                        self._md5.update(chunk)
                        yield chunk
                finally:
                    body.close()
            except LOST as error:
                failure = str(error)
                continue
            return
        raise OpsError(f"{self._name}: the connection broke {ATTEMPTS} times, lastly: {failure}", hint="Try again.")

    def _open(self, etag: str) -> dict[str, Any]:
        """From where it broke, and only while it is the same object."""
        further: dict[str, Any] = {"Range": f"bytes={self.size_bytes}-", "IfMatch": etag} if self.size_bytes else {}
        with explained(f"reading {self._name}"):
            try:
                found: Any = self._s3.get_object(Bucket=self._bucket, Key=self._file.key, **further)
                return dict(found)
            except ClientError as error:
                code = error_code(error)
                if code in ("NoSuchKey", "404"):
                    raise OpsError(f"{self._name} is missing; the manifest lists it", hint=AGAIN) from error
                if code == "InvalidRange":  # it broke after the last byte
                    return {"ETag": etag, "Body": _Empty()}
                if code == "PreconditionFailed":
                    raise OpsError(f"{self._name} was replaced while it was read", hint="Read it again.") from error
                raise

    def pieces(self) -> Iterator[bytes]:
        """Its content.

        Raises:
            DamagedError: it is no gzip file, or ends too early. Whoever asks goes on with ``verdict``.
            OpsError: as ``raw``.
        """
        unpack: igzip_lib.IgzipDecompressor | None = None
        for chunk in self.raw():
            left = chunk
            while left or (unpack is not None and not unpack.needs_input and not unpack.eof):
                if unpack is None:
                    unpack = igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP)
                try:
                    piece = unpack.decompress(left, PIECE_BYTES)
                except UNPACKING as error:
                    raise DamagedError(f"is no gzip: {error}") from error
                left = b""
                if unpack.eof:  # another member may follow
                    left, unpack = unpack.unused_data, None
                if piece:
                    yield piece
        if unpack is not None:
            raise DamagedError("ends within its gzip stream")
        if not self.size_bytes:
            raise DamagedError("is empty, without a gzip header")

    def verdict(self, problem: str = "") -> None:
        """Hold the whole file against its MD5, also when something is known to be wrong with it.

        Raises:
            OpsError: ``problem``, or another MD5.
        """
        if problem:
            self._drain()
        found = md5_text(self._md5.digest())
        if found != self._file.md5:
            why = f", and it {problem}" if problem else ""
            raise OpsError(
                f"{self._name} is damaged or cut short: the MD5 of its {self.size_bytes:,} bytes is {found}, "
                f"expected {self._file.md5}{why}",
                hint=AGAIN,
            )
        if problem:
            raise OpsError(f"{self._name} {problem}, though its MD5 is as expected", hint=AGAIN)

    def _drain(self) -> None:
        """The rest, for its MD5."""
        for _ in self.raw() if self.size_bytes else ():
            pass


class _Empty:
    def read(self, size: int) -> bytes:
        return b""

    def close(self) -> None:
        pass
