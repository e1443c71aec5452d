import ssl
import tempfile

from skerry_controller.authorities import KeyPair


def client_context(server_authorities_pem: str, pair: KeyPair) -> ssl.SSLContext:
    """TLS for the controller's session: it shows ``pair`` and believes the server authorities."""
    context = ssl.create_default_context(cadata=server_authorities_pem)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # The ssl module reads private keys from files only; this one has mode 0600 and lives for a moment.
    with tempfile.NamedTemporaryFile(suffix=".pem") as file:
        file.write(pair.key_pem + pair.certificate_pem)
        file.flush()
        context.load_cert_chain(file.name)
    return context
