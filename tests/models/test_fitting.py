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


def test_the_rate_falls_with_the_arithmetic_spent():
    config = FitConfig(updates=17_000, learning_rate=1.0, final_learning_rate=0.0)
    # The four stages below the top cost an eighth each: cosines of 1/8, 2/8, 3/8 and 4/8 of half a turn end them.
    found = [config.rate(update) for update in (8000, 12_000, 14_000, 15_000, 16_000)]
    assert found == pytest.approx([0.961940, 0.853553, 0.691342, 0.5, 0.146447], abs=1e-6)
    assert config.rate(0) == pytest.approx(0.01) and config.rate(16_999) < 1e-5
    single = FitConfig(updates=1000, horizons=(16,), learning_rate=1.0, final_learning_rate=0.0)
    assert single.rate(500) == pytest.approx(0.5)
