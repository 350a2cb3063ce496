"""https: the certificate is checked, against the system's authorities or the one that was named."""

from __future__ import annotations

import shutil
import ssl
import subprocess

import pytest

from ingest_client._run import Run
from tests.integration.client.conftest import settings_for
from tests.integration.client.stub import running_stub, wait_until


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no openssl to make a certificate")
    directory = tmp_path_factory.mktemp("tls")
    key, crt = directory / "key.pem", directory / "crt.pem"
    subprocess.run(
        [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", crt, "-days", "2",
         "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"],
        check=True, capture_output=True, timeout=120,
    )  # fmt: skip
    return key, crt


@pytest.fixture
def secure_stub(certificate):
    key, crt = certificate
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(crt, key)
    with running_stub(tls=context) as stub:
        yield stub


def test_a_named_authority_is_trusted(secure_stub, certificate, spool_dir):
    run = Run(settings_for(secure_stub.url, spool_dir, INGEST_TLS_CA=str(certificate[1])))
    run.log_metric("a", 1.0)
    assert run.flush(30)
    run.end()
    wait_until(lambda: run.is_delivered)
    assert len(secure_stub.points()) == 1


def test_an_unknown_authority_gets_nothing(secure_stub, spool_dir):
    run = Run(settings_for(secure_stub.url, spool_dir, INGEST_TOKEN="secret"))
    run.log_metric("a", 1.0)
    assert run.flush(0.7) is False
    assert "CERTIFICATE_VERIFY_FAILED" in (run.stats().last_error or "")
    assert secure_stub.requests == []
