"""A certificate of ours, for the page or the embedded broker."""

import ssl
from pathlib import Path
from typing import NamedTuple


class CertificateUnusable(Exception):
    """It cannot be shown to anybody; field is the name of the file's setting, str() says why."""

    def __init__(self, field: str, why: str) -> None:
        super().__init__(why)
        self.field = field


class Certificate(NamedTuple):
    """Files in PEM form: the certificate with its chain, and its key."""

    cert_file: Path
    key_file: Path

    def context(self) -> ssl.SSLContext:
        """Return what a server speaks TLS with; raise CertificateUnusable."""
        for field, path in self._asdict().items():
            try:
                path.read_bytes()
            except OSError as err:
                raise CertificateUnusable(field, f"cannot read {path}: {err.strerror}") from None
        made = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        made.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            # A key with a passphrase must not have it asked for at a terminal.
            made.load_cert_chain(self.cert_file, self.key_file, password="")
        except ssl.SSLError as err:
            raise CertificateUnusable(*self._why(err)) from None
        return made

    def only_this(self) -> ssl.SSLContext:
        """Return what believes this certificate and no other, for the way to ourselves.

        Its name is not looked at: it is of the address that others use. Raises OSError,
        ssl.SSLError, ValueError.
        """
        begin, end = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
        # The first of the file is ours; one behind it would let in all that it has signed.
        own = self.cert_file.read_text("ascii").partition(begin)[2].partition(end)[0]
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        made.load_verify_locations(cadata=f"{begin}{own}{end}\n")
        made.check_hostname = False
        made.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        return made

    def _why(self, err: ssl.SSLError) -> tuple[str, str]:
        if err.reason == "KEY_VALUES_MISMATCH":
            return "key_file", f"is not the key of {self.cert_file}: {self.key_file}"
        try:
            ssl.create_default_context(cafile=self.cert_file)
        except ssl.SSLError:
            return "cert_file", f"holds no certificate in PEM form: {self.cert_file}"
        if b"ENCRYPTED" in self.key_file.read_bytes():
            return "key_file", f"has a passphrase, which nobody could enter: {self.key_file}"
        return "key_file", f"holds no key in PEM form: {self.key_file}"
