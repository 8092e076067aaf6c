"""A database on PostgreSQL, and settings for short leases."""

import pytest

from tests.conftest import Place

# The shortest time-out that may be set makes the shortest lease. On a busy machine it may run out for a receiver that
# takes everything, which then gets the message again.
QUICK = {"TOCSIN_DELIVERY_TIMEOUT": "1", "TOCSIN_RETRY_SCHEDULE": "0,0.2,0.5,1,2,5,5,5", "TOCSIN_RATE_LIMIT": "off"}
LEASE_SECONDS = 17


@pytest.fixture
def place(postgres_place: Place) -> Place:
    return postgres_place
