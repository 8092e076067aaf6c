"""What a server shows to whom: metrics on a listener of their own, pages and API on the other."""

import socket
from pathlib import Path

import httpx
import pytest

from tests.processes import Installation
from tests.programs import free_port
from tocsin.settings import Settings


def test_metrics_are_for_this_machine_alone_unless_set_otherwise() -> None:
    assert Settings().metrics_listen == ("127.0.0.1", 8601)


def test_metrics_are_not_on_the_port_that_others_reach(tmp_path: Path) -> None:
    port = free_port()
    installation = Installation(tmp_path, TOCSIN_METRICS_LISTEN=f"127.0.0.1:{port}")
    installation.serve()
    try:
        # Another address of this machine stands for that of an external interface.
        for host, listening in [("127.0.0.2", port), ("127.0.0.2", installation.port)]:
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection((host, listening), timeout=5).close()
        with httpx.Client(base_url=installation.url, trust_env=False) as client:
            token = installation.add_user()
            for headers in ({}, {"authorization": f"Bearer {token}"}):
                for path in ("/metrics", "/metrics/", "/v1/metrics"):
                    assert client.get(path, headers=headers).status_code == 404
            page = client.get("/login")
            assert page.status_code == 200
            assert "default-src 'none'" in page.headers["content-security-policy"]
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
            assert "tocsin_delivery_attempts" in client.get("/metrics").text
    finally:
        installation.end()
