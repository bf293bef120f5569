"""Certificates for servers, sentinels and clients of one test."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import trustme

from .harness_processes import LOOPBACK


class Certificates:
    """An authority and one certificate that serves both ways."""

    def __init__(self, directory: Path) -> None:
        self.authority, self.certificate, self.key = (
            str(directory / name) for name in ("ca.pem", "cert.pem", "key.pem")
        )
        self.issue()

    def issue(self) -> None:
        """Another authority and certificate take the place of the present ones."""
        authority = trustme.CA()
        issued = authority.issue_cert(LOOPBACK, "localhost")
        authority.cert_pem.write_to_path(self.authority)
        issued.private_key_pem.write_to_path(self.key)
        Path(self.certificate).write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))

    def lines(self, port: int) -> list[str]:
        """What a configuration file needs for a TLS port."""
        return [
            f"tls-port {port}",
            f"tls-cert-file {self.certificate}",
            f"tls-key-file {self.key}",
            f"tls-ca-cert-file {self.authority}",
        ]

    def shown(self, *, with_certificate: bool = True) -> dict[str, Any]:
        """What the client libraries are told; all use the same words."""
        ours = {"ssl_certfile": self.certificate, "ssl_keyfile": self.key} if with_certificate else {}
        return {"ssl": True, "ssl_ca_certs": self.authority, **ours}

    def cli(self, *, with_certificate: bool = True) -> list[str]:
        """What redis-cli is told."""
        ours = ["--cert", self.certificate, "--key", self.key] if with_certificate else []
        return ["--tls", "--cacert", self.authority, *ours]
