"""How TLS is spoken: always verified, against the system's certificates, 1.2 at least."""

import ssl


def client_context() -> ssl.SSLContext:
    """Certificates and host names are checked; OpenSSL's SSL_CERT_FILE and SSL_CERT_DIR name other authorities."""
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context
