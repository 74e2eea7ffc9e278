"""Stores of Google Cloud Storage and Azure: on strict fakes, and, where the program is installed, on Azurite."""

import shutil
import socket
import subprocess
import time
from contextlib import closing, suppress

import pytest
from azure.core.exceptions import AzureError

from recsys_assets.storage.azure import CONNECTION, AzureStore, open_container
from recsys_assets.storage.gcs import EMULATOR, GcsStore
from recsys_assets_tests.storage.cloud_fakes import connection_string


@pytest.fixture(scope="module")
def gcs(gcs_server):
    """Return a function that opens a store below a prefix of the faked bucket."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(EMULATOR, gcs_server.endpoint)
        yield lambda prefix, **more: GcsStore(bucket="bucket", prefix=prefix, **more)


@pytest.fixture(scope="module")
def azure(azure_server):
    """Likewise for Azure."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(CONNECTION, connection_string(azure_server.endpoint))
        with closing(open_container("bucket")) as container:
            yield lambda prefix, **more: AzureStore(container, prefix=prefix, **more)


@pytest.fixture(scope="session")
def azurite(tmp_path_factory):
    """Likewise on Azurite, a server of Microsoft's own."""
    program = shutil.which("azurite-blob")
    if program is None:
        pytest.skip("no `azurite-blob` program: npm install --global azurite")
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    folder = tmp_path_factory.mktemp("azurite")
    command = [program, "--blobPort", str(port), "--location", str(folder), "--silent", "--skipApiVersionCheck"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(CONNECTION, connection_string(f"http://127.0.0.1:{port}"))
            container = open_container("bucket")
        deadline = time.monotonic() + 60
        while True:
            with suppress(AzureError):
                container.create_container(retry_total=0)
                break
            assert time.monotonic() < deadline, "Azurite did not begin to answer"
            time.sleep(0.1)
        with closing(container):
            yield lambda prefix, **more: AzureStore(container, prefix=prefix, **more)
    finally:
        process.kill()
        process.wait()
