"""Two episodes of 3 and 2 steps, packed as rows 0 1 2 3 | 4 5 6, windows of 4 steps:

first step   0        1        2        0'       1'
observes     0 1 2 3 3   1 2 3 3 3   2 3 3 3 3   4 5 6 6 6   5 6 6 6 6
mask         1 1 1 0     1 1 0 0     1 0 0 0     1 1 0 0     1 0 0 0
"""

from collections import Counter

import numpy as np
import pytest
import torch

from wm_gym.data.segments import Windows, split_episodes
from wm_gym.errors import ConfigError, DataError


@pytest.fixture
def episodes(make_task, make_episode):
    task = make_task(cameras=("main",))
    return [make_episode(task, 0, 3, terminated=True), make_episode(task, 1, 2, terminated=False)]


class FakeDataset:
    def __init__(self, behaviours):
        self.behaviours = tuple(behaviours)

    def __len__(self):
        return len(self.behaviours)


def test_windows_are_padded_and_masked_at_the_end_of_an_episode(episodes):
    windows = Windows(episodes, length=4)
    assert len(windows) == 5
    (batch,) = windows.all(stride=1)
    observed = [[0, 1, 2, 3, 3], [1, 2, 3, 3, 3], [2, 3, 3, 3, 3], [1000, 1001, 1002, 1002, 1002], [1001] + [1002] * 4]
    mask = [[1, 1, 1, 0], [1, 1, 0, 0], [1, 0, 0, 0], [1, 1, 0, 0], [1, 0, 0, 0]]
    actions = [[0, 0.1, 0.2, 0], [0.1, 0.2, 0, 0], [0.2, 0, 0, 0], [100, 100.1, 0, 0], [100.1, 0, 0, 0]]
    rewards = [[0, -1, -2, 0], [-1, -2, 0, 0], [-2, 0, 0, 0], [0, -1, 0, 0], [-1, 0, 0, 0]]
    ends = [[0, 0, 1, 0], [0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
    assert batch.observations[:, :, 0].tolist() == observed
    torch.testing.assert_close(batch.actions[:, :, 0], torch.tensor(actions))
    assert batch.rewards.tolist() == rewards
    assert batch.terminations.tolist() == ends, "only a termination ends the world, a time limit does not"
    assert batch.mask.tolist() == mask
    assert {value.dtype for value in (batch.observations, batch.actions, batch.rewards, batch.mask)} == {torch.float32}
    assert torch.equal(batch.frames["main"][1], torch.from_numpy(episodes[0].frames["main"][[1, 2, 3, 3, 3]]))


def test_no_window_holds_two_episodes(episodes):
    batch = Windows(episodes, length=4).sample(500, torch.Generator().manual_seed(0))
    assert ((batch.observations[:, :, 0] >= 1000).float().mean(1) % 1 == 0).all()


def test_every_step_is_an_equally_likely_start(episodes):
    firsts = Windows(episodes, 2).sample(20_000, torch.Generator().manual_seed(1)).observations[:, 0, 0]
    counts = Counter(firsts.tolist())
    assert set(counts) == {0, 1, 2, 1000, 1001}, "a final observation has no step to start with"
    assert all(abs(count / 20_000 - 0.2) < 0.02 for count in counts.values())


def test_the_generator_decides_the_batch(episodes):
    windows = Windows(episodes, 2)
    first, again, other = (windows.sample(64, torch.Generator().manual_seed(seed)) for seed in (3, 3, 4))
    assert torch.equal(first.observations, again.observations)
    assert not torch.equal(first.observations, other.observations)


def test_stride_starts_anew_in_every_episode_and_batches_cover_it(episodes):
    batches = list(Windows(episodes, 1).all(stride=2, batch_size=2))
    assert [batch.observations[:, 0, 0].tolist() for batch in batches] == [[0, 2], [1000]]


def test_a_batch_is_a_copy(episodes):
    windows = Windows(episodes, 2)
    next(windows.all(1)).observations.fill_(-1)
    assert next(windows.all(1)).observations[0, 0, 0] == 0
    assert episodes[0].observations[0, 0] == 0


def test_windows_refuse_what_they_cannot_pack(episodes, make_task, make_episode):
    with pytest.raises(DataError, match="no episodes"):
        Windows([], 2)
    with pytest.raises(ConfigError, match="0 steps"):
        Windows(episodes, 0)
    with pytest.raises(DataError, match=r"episode 2 of the batch has observations of shape \(5,\)"):
        Windows([*episodes, make_episode(make_task(("main",), state=5), 2, 3)], 2)
    with pytest.raises(DataError, match=r"episode 2 of the batch has cameras \[\]"):
        Windows([*episodes, make_episode(make_task(), 2, 3)], 2)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("count", [6, 10, 37, 400])
def test_a_split_uses_every_episode_once(count, seed):
    split = split_episodes(FakeDataset(["random"] * count), seed)
    assert sorted(split.train + split.validation + split.calibration) == list(range(count))
    assert min(map(len, (split.train, split.validation, split.calibration))) >= 2
    assert len(split.validation) == len(split.calibration) == max(2, round(count / 10))


def test_a_split_depends_on_its_seed_alone():
    dataset = FakeDataset(["random", "smooth"] * 50)
    assert split_episodes(dataset, 1) == split_episodes(dataset, 1)
    assert split_episodes(dataset, 1) != split_episodes(dataset, 2)


def test_a_split_holds_the_behaviours_in_proportion():
    behaviours = ["random"] * 100 + ["smooth"] * 60 + ["policy"] * 40
    for seed in range(10):
        split = split_episodes(FakeDataset(behaviours), seed)
        for part in (split.validation, split.calibration):
            counts = Counter(behaviours[index] for index in part)
            assert all(abs(counts[name] - want) <= 1 for name, want in {"random": 10, "smooth": 6, "policy": 4}.items())


def test_a_rare_behaviour_stays_in_training():
    split = split_episodes(FakeDataset(["random"] * 40 + ["policy"]), seed=0)
    assert 40 in split.train


def test_too_few_episodes_to_split_says_how_many_are_needed():
    with pytest.raises(DataError, match=r"^5 episodes are too few .* at least 6 are needed"):
        split_episodes(FakeDataset(["random"] * 5), seed=0)
    with pytest.raises(DataError, match=r"at least (\d+) are needed") as error:
        split_episodes(FakeDataset(["random"] * 6), 0, validation=0.45, calibration=0.45)
    needed = int(str(error.value).split("at least ")[1].split()[0])
    assert split_episodes(FakeDataset(["random"] * needed), 0, 0.45, 0.45)
    with pytest.raises(DataError):
        split_episodes(FakeDataset(["random"] * (needed - 1)), 0, 0.45, 0.45)
    for fractions in ((0.0, 0.1), (0.1, -0.1), (0.5, 0.5), (np.nan, 0.1)):
        with pytest.raises(ConfigError, match="validation="):
            split_episodes(FakeDataset(["random"] * 50), 0, *fractions)


def test_a_share_of_the_windows_begins_where_episodes_do(episodes):
    batch = Windows(episodes, length=2, share_of_beginnings=0.5).sample(400, torch.Generator().manual_seed(0))
    begins = batch.observations[:, 0, 0] % 1000 == 0
    assert torch.equal(batch.begins, begins.float())
    assert begins[:200].all() and 60 < int(begins[200:].sum()) < 100  # two in five of all steps
    first = Counter(batch.observations[:200, 0, 0].tolist())  # by episode, whatever their lengths
    assert set(first) == {0.0, 1000.0} and min(first.values()) > 80
