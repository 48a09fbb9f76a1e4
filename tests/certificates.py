"""Certificates of an authority that tests make for themselves."""

import datetime
import ipaddress
from typing import Any


class Authority:
    """Signs certificates for `localhost`."""

    def __init__(self, name: str) -> None:
        self.key = _key()
        self.name = _name(name)
        self.certificate = self._signed(self.name, self.key, is_authority=True)
        self.pem = _pem(self.certificate)

    def pair(self, name: str = "localhost") -> tuple[str, str]:
        """A private key and its certificate, as PEM texts."""
        from cryptography.hazmat.primitives import serialization as s

        key = _key()
        private = key.private_bytes(
            s.Encoding.PEM, s.PrivateFormat.PKCS8, s.NoEncryption()
        ).decode()
        return private, _pem(self._signed(_name(name), key))

    def _signed(self, subject: Any, key: Any, is_authority: bool = False) -> Any:
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes

        now = datetime.datetime.now(datetime.UTC)
        names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.BasicConstraints(is_authority, None), critical=True)
            .sign(self.key, hashes.SHA256())
        )


def _key() -> Any:
    from cryptography.hazmat.primitives.asymmetric import ec

    return ec.generate_private_key(ec.SECP256R1())


def _name(text: str) -> Any:
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _pem(certificate: Any) -> str:
    from cryptography.hazmat.primitives import serialization

    return certificate.public_bytes(serialization.Encoding.PEM).decode()
