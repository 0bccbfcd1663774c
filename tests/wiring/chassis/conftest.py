import pytest

from wiring.chassis.rig import Rig


@pytest.fixture
def rig(kafka: str, redis_url: str) -> Rig:
    return Rig(kafka, redis_url)
