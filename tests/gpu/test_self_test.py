"""The checks of `python -m tcae_ops.selftest`, one by one."""

import pytest

from tcae_ops.selftest import checks

pytestmark = pytest.mark.gpu
CHECKS = {**checks.ON_ANY_DEVICE, **checks.ON_GPUS}


@pytest.mark.parametrize("name", CHECKS)
def test_check(place, name):
    try:
        CHECKS[name](place)
    except checks.Unable as reason:
        pytest.skip(str(reason))
