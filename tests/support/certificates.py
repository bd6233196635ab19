"""Certificates for tests: a CA, and what a broker may show, made when they are asked for.

Their dates are far from today's on either side, so that no test reads the clock.
"""

import datetime
import functools
import ipaddress
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import NameOID

PAST = (2000, 2010)
PRESENT = (2000, 2090)
FUTURE = (2080, 2090)
HERE = ("localhost", "127.0.0.1")
_SIGNS = x509.KeyUsage(
    digital_signature=False,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=True,
    encipher_only=False,
    decipher_only=False,
)


class Signed(NamedTuple):
    """A certificate with its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.DER)

    def write(self, folder: Path, name: str) -> tuple[Path, Path]:
        """Put both into a folder; return their paths."""
        paths = folder / f"{name}.pem", folder / f"{name}.key"
        paths[0].write_bytes(self.pem)
        paths[1].write_bytes(
            self.key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return paths


def new_key(kind: str = "ec"):
    if kind == "rsa":
        return rsa.generate_private_key(65_537, 2_048)
    if kind == "ed25519":
        return ed25519.Ed25519PrivateKey.generate()
    return ec.generate_private_key(ec.SECP256R1())


def make(
    title: str,
    signer: Signed | None = None,
    names: tuple[str, ...] = (),
    years: tuple[int, int] = PRESENT,
    kind: str = "ec",
    padding: int = 0,
) -> Signed:
    """Return a certificate signed by signer, or by itself; without names it is a CA's."""
    key = new_key(kind)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, title)])
    begin, end = (datetime.datetime(year, 1, 1, tzinfo=datetime.UTC) for year in years)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if signer is None else signer.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(not names, None), critical=True)
    )
    # Newer versions of OpenSSL's users want all of these.
    own = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    builder = builder.add_extension(own, critical=False)
    if not names:
        builder = builder.add_extension(_SIGNS, critical=True)
    if signer is not None:
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.key.public_key())
        builder = builder.add_extension(issuer, critical=False)
    if names:
        alternatives = x509.SubjectAlternativeName([_name(name) for name in names])
        builder = builder.add_extension(alternatives, critical=False)
    if padding:
        unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3"), bytes(padding))
        builder = builder.add_extension(unknown, critical=False)
    signing_key = key if signer is None else signer.key
    algorithm = None if isinstance(signing_key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return Signed(builder.sign(signing_key, algorithm), key)


def _name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


@functools.cache
def the_ca() -> Signed:
    """The CA that the tests believe."""
    return make("the CA")


@functools.cache
def other_ca() -> Signed:
    """A CA of the same name that nobody has been told of."""
    return make("the CA")


@functools.cache
def broker_of(what: str = "good") -> Signed:
    """What a broker shows: "good", or what is wrong with it."""
    return {
        "good": lambda: make("broker", the_ca(), HERE),
        "rsa": lambda: make("broker", make_rsa_ca(), HERE, kind="rsa"),
        "another CA": lambda: make("broker", other_ca(), HERE),
        "itself": lambda: make("broker", None, HERE),
        "another name": lambda: make("broker", the_ca(), ("elsewhere", "192.0.2.1")),
        "expired": lambda: make("broker", the_ca(), HERE, PAST),
        "not valid yet": lambda: make("broker", the_ca(), HERE, FUTURE),
    }[what]()


@functools.cache
def make_rsa_ca() -> Signed:
    """A CA with an RSA key, as many have."""
    return make("the RSA CA", kind="rsa")
