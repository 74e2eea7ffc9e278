"""Stores of Google Cloud Storage and Azure: on strict fakes, and, where the program is installed, on Azurite."""

from contextlib import closing

import pytest

from recsys_assets.clouds.azure import CONNECTION, open_container
from recsys_assets.clouds.gcs import EMULATOR
from recsys_assets.storage.azure import AzureStore
from recsys_assets.storage.gcs import GcsStore
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
