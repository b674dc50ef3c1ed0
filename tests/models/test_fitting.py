from collections import Counter

import pytest

from wm_gym.models.fitting import FitConfig


def test_the_stages_below_the_top_cost_the_same_and_the_top_as_much_as_they():
    config = FitConfig(updates=17_000)
    stages = [config.horizon(update) for update in range(config.updates)]
    assert stages == sorted(stages), "it only climbs"
    assert Counter(stages) == {1: 8000, 2: 4000, 4: 2000, 8: 1000, 16: 2000}


@pytest.mark.parametrize("horizons", [(0,), (1,), (16,)])
def test_a_single_horizon_is_kept(horizons):
    config = FitConfig(updates=10, horizons=horizons)
    assert {config.horizon(update) for update in range(10)} == set(horizons)
