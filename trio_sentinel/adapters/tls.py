"""TLS contexts from the ``tls-*`` directives, with the refusals that stock prints (config-and-events.md 1.7).

Certificates are verified against our authorities on both sides; names in them are not, as in stock, because
sentinels call servers by address.
"""

from __future__ import annotations

import ssl
import warnings
from pathlib import Path
from typing import Final

from attrs import frozen

from trio_sentinel.errors import StartupError
from trio_sentinel.wire.directives import Directives

FAILED: Final = "Failed to configure TLS. Check logs for more info."
NO_AUTHORITY: Final = (
    "Either tls-ca-cert-file or tls-ca-cert-dir must be specified "
    "when tls-cluster, tls-replication or tls-auth-clients are enabled!"
)
BAD_PROTOCOLS: Final = (
    "Invalid tls-protocols specified. Use a combination of 'TLSv1', 'TLSv1.1', 'TLSv1.2' and 'TLSv1.3'."
)

_VERSIONS: Final = {
    "tlsv1": (ssl.TLSVersion.TLSv1, ssl.OP_NO_TLSv1),
    "tlsv1.1": (ssl.TLSVersion.TLSv1_1, ssl.OP_NO_TLSv1_1),
    "tlsv1.2": (ssl.TLSVersion.TLSv1_2, ssl.OP_NO_TLSv1_2),
    "tlsv1.3": (ssl.TLSVersion.TLSv1_3, ssl.OP_NO_TLSv1_3),
}
_CLIENT_CHECKS: Final = {"yes": ssl.CERT_REQUIRED, "optional": ssl.CERT_OPTIONAL, "no": ssl.CERT_NONE}


@frozen(kw_only=True)
class TlsContexts:
    """For clients that come to us, for links that we open (None unless ``tls-replication``), and what to warn of."""

    server: ssl.SSLContext
    client: ssl.SSLContext | None
    warnings: tuple[str, ...]


def make_contexts(directives: Directives) -> TlsContexts | None:
    """The contexts that the directives ask for; None when nothing uses TLS.

    Raises:
        StartupError: with the lines that stock logs before it exits.
    """
    if not (directives.tls_port or directives.tls_replication or directives.tls_cluster):
        return None
    _check(directives)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.verify_mode = _CLIENT_CHECKS[directives.tls_auth_clients]
    _load_certificate(server, directives.tls_cert_file, directives.tls_key_file, directives.tls_key_file_pass)
    odd = _configure(server, directives)
    client = None
    if directives.tls_replication:
        client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        client.check_hostname = False
        client.verify_mode = ssl.CERT_REQUIRED
        _load_certificate(client, *_client_pair(directives))
        _configure(client, directives)
    return TlsContexts(server=server, client=client, warnings=tuple(odd))


def fingerprint(directives: Directives) -> tuple[tuple[int, int, int] | None, ...]:
    """Changes whenever a file that `make_contexts` reads is written or replaced (files in a directory of authorities
    are found by OpenSSL when it needs them)."""
    names = (
        directives.tls_cert_file,
        directives.tls_key_file,
        directives.tls_client_cert_file,
        directives.tls_client_key_file,
        directives.tls_ca_cert_file,
        directives.tls_dh_params_file,
    )
    return tuple(_stamp(name) for name in names if name)


def _stamp(path: str) -> tuple[int, int, int] | None:
    try:
        about = Path(path).stat()
    except OSError:
        return None
    return about.st_mtime_ns, about.st_size, about.st_ino


def _check(directives: Directives) -> None:
    if not directives.tls_cert_file:
        raise StartupError("No tls-cert-file configured!", FAILED)
    if not directives.tls_key_file:
        raise StartupError("No tls-key-file configured!", FAILED)
    verifies = directives.tls_auth_clients != "no" or directives.tls_cluster or directives.tls_replication
    if verifies and not (directives.tls_ca_cert_file or directives.tls_ca_cert_dir):
        raise StartupError(NO_AUTHORITY, FAILED)


def _client_pair(directives: Directives) -> tuple[str, str, str]:
    """Certificate, key and password for our own links: the client pair when it is complete."""
    if directives.tls_client_cert_file and directives.tls_client_key_file:
        return directives.tls_client_cert_file, directives.tls_client_key_file, directives.tls_client_key_file_pass
    return directives.tls_cert_file, directives.tls_key_file, directives.tls_key_file_pass


def _load_certificate(context: ssl.SSLContext, certificate: str, key: str, password: str) -> None:
    try:
        # Always a password, if only an empty one: without it OpenSSL would ask at the terminal and block.
        context.load_cert_chain(certificate, key, password=lambda: password)
    except (OSError, ValueError) as error:
        if (problem := _problem_with_certificate(certificate)) is not None:
            raise StartupError(f"Failed to load certificate: {certificate}: {problem}", FAILED) from error
        raise StartupError(f"Failed to load private key: {key}: {_words(error)}", FAILED) from error


def _problem_with_certificate(path: str) -> str | None:
    """What is wrong with the certificate file; None when the key must be to blame. `ssl` does not tell them apart."""
    try:
        text = Path(path).read_text("ascii", "replace")
    except OSError as error:
        return error.strerror or str(error)
    end = "-----END CERTIFICATE-----"
    begin = text.find("-----BEGIN CERTIFICATE-----")
    stop = text.find(end, begin)
    if begin < 0 or stop < 0:
        return "no start line"
    try:
        first = ssl.PEM_cert_to_DER_cert(text[begin : stop + len(end)])
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(cadata=first)
    except (OSError, ValueError) as error:
        return _words(error)
    return None


def _configure(context: ssl.SSLContext, directives: Directives) -> list[str]:
    """Everything but the certificate; returns what cannot be honoured here."""
    odd = []
    _choose_versions(context, directives.tls_protocols)
    authority, directory = directives.tls_ca_cert_file or None, directives.tls_ca_cert_dir or None
    if authority or directory:
        try:
            context.load_verify_locations(authority, directory)
        except OSError as error:
            reason = _words(error)
            raise StartupError(f"Failed to configure CA certificate(s) file/directory: {reason}", FAILED) from error
    if directives.tls_ciphers:
        try:
            context.set_ciphers(directives.tls_ciphers)
        except ssl.SSLError as error:
            raise StartupError(f"Failed to configure ciphers: {directives.tls_ciphers}", FAILED) from error
    if directives.tls_ciphersuites:
        choose = getattr(context, "set_ciphersuites", None)  # Python 3.15 and later
        if choose is None:
            odd.append("This Python cannot choose tls-ciphersuites; those of the TLS library are used.")
        else:
            try:
                choose(directives.tls_ciphersuites)
            except ssl.SSLError as error:
                reason = directives.tls_ciphersuites
                raise StartupError(f"Failed to configure ciphersuites: {reason}", FAILED) from error
    if directives.tls_prefer_server_ciphers:
        context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE
    else:
        context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
    context.options |= getattr(ssl, "OP_NO_RENEGOTIATION", 0)
    if not directives.tls_session_caching:
        context.options |= ssl.OP_NO_TICKET
        if context.protocol is ssl.PROTOCOL_TLS_SERVER:
            context.num_tickets = 0
    if directives.tls_dh_params_file and context.protocol is ssl.PROTOCOL_TLS_SERVER:
        try:
            context.load_dh_params(directives.tls_dh_params_file)
        except OSError as error:
            path = directives.tls_dh_params_file
            raise StartupError(f"Failed to load DH params file: {path}: {_words(error)}", FAILED) from error
    return odd


def _choose_versions(context: ssl.SSLContext, words: str) -> None:
    names = words.lower().split() or ["tlsv1.2", "tlsv1.3"]
    if not all(name in _VERSIONS for name in names):
        raise StartupError(BAD_PROTOCOLS, FAILED)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # old versions were asked for by name
        chosen = sorted(_VERSIONS[name][0] for name in names)
        context.minimum_version, context.maximum_version = chosen[0], chosen[-1]
        for name, (_, without) in _VERSIONS.items():
            if name not in names:
                context.options |= without


def _words(error: Exception) -> str:
    """What OpenSSL or the system says, without coordinates in their sources."""
    reason = getattr(error, "reason", None)
    if reason:
        return str(reason).replace("_", " ").lower()
    return getattr(error, "strerror", None) or str(error)
