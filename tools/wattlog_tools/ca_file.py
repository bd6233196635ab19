"""The certificate of the CA that a head trusts: PEM or DER in a file, DER on the head."""

import ssl
from pathlib import Path

BYTES_MAX = 2_048
"""Of the DER form: what a head reads, in one piece of its heap."""

_PEM = b"-----BEGIN CERTIFICATE-----"
# Object identifiers of signatures that Mbed TLS has not: Ed25519 and Ed448.
_NOT_ON_A_HEAD = (b"\x06\x03\x2b\x65\x70", b"\x06\x03\x2b\x65\x71")


def read(path: Path, now_s: float) -> bytes:
    """Return the one certificate in a file, as DER; now_s is in s since 1970.

    Raises ValueError with what is wrong, in words that follow the file's name.
    """
    try:
        data = path.read_bytes()
    except OSError as err:
        raise ValueError((err.strerror or str(err)).lower()) from None
    count = data.count(_PEM)
    if count > 1:
        raise ValueError(f"holds {count} certificates; a head takes one: that of the CA")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        # Text is taken for PEM, and bytes for DER.
        context.load_verify_locations(cadata=data.decode("ascii", "ignore") if count else data)
    except (ValueError, OSError):  # UnicodeError is a ValueError, and ssl.SSLError an OSError
        raise ValueError("no certificate in PEM or DER form") from None
    found = context.get_ca_certs(binary_form=True)
    if len(found) > 1:
        raise ValueError(f"holds {len(found)} certificates; a head takes one: that of the CA")
    if not found:
        raise ValueError("the certificate in it is no CA's; the one that signed it is wanted")
    der = found[0]
    if len(der) > BYTES_MAX:
        raise ValueError(f"its certificate has {len(der)} bytes; a head takes {BYTES_MAX}")
    if any(oid in der for oid in _NOT_ON_A_HEAD):
        raise ValueError("its key is Ed25519 or Ed448, which a head has not; make it EC P-256")
    ends = str(context.get_ca_certs()[0]["notAfter"])
    if ssl.cert_time_to_seconds(ends) < now_s:
        raise ValueError(f"its certificate was good until {ends}")
    return der
