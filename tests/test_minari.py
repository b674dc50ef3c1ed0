"""Minari's DataCollector records WorldModel-v0, and what it recorded can be replayed."""

import gymnasium as gym
import minari
import numpy as np
import pytest

EPISODES = 3
LARGEST_SEED = 2**64 - 1
"""Minari seeds an episode with 64 random bits."""


@pytest.fixture
def recorded(tmp_path, monkeypatch):
    """Three episodes of random actions; the last is left before its end, which Minari calls truncated."""
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    env = minari.DataCollector(gym.make("wm_gym:WorldModel-v0", horizon=20), data_format="arrow")
    env.action_space.seed(0)
    for episode in range(EPISODES):
        env.reset(seed=LARGEST_SEED if episode == 0 else None)
        for _ in range(20 if episode < EPISODES - 1 else 7):
            _, _, terminated, truncated, _ = env.step(env.action_space.sample())
            if terminated or truncated:
                break
    folders = [env._tmp_dir]
    dataset = env.create_dataset(
        "worldmodel/test-v0",
        eval_env="WorldModel-v0",
        algorithm_name="random actions",
        author="wm_gym",
        author_email="nobody@example.org",
        code_permalink="none",
        description="a test",
        requirements=["wm_gym"],
    )
    folders.append(env._tmp_dir)
    env.close()
    for folder in folders:  # Minari leaves its emptied folders to the garbage collector, which would warn of them
        folder.cleanup()
    return dataset


def test_a_recording_holds_the_episodes_with_their_ends(recorded):
    episodes = list(recorded.iterate_episodes())
    assert len(episodes) == recorded.total_episodes == EPISODES
    assert [len(episode) for episode in episodes] == [20, 20, 7]
    assert [bool(episode.truncations[-1]) for episode in episodes] == [True] * EPISODES
    assert all(len(episode.observations) == len(episode) + 1 for episode in episodes)


def test_a_recording_replays_bit_by_bit(recorded):
    """The environment as Minari's description on disk makes it, with the recorded seeds and actions."""
    dataset = minari.load_dataset(recorded.id)
    env = dataset.recover_environment()
    described = dataset.storage.get_episode_metadata(range(EPISODES))
    for episode, metadata in zip(dataset.iterate_episodes(), described, strict=True):
        observation, _ = env.reset(seed=int(metadata["seed"]))
        np.testing.assert_array_equal(observation, episode.observations[0])
        for step, action in enumerate(episode.actions):
            observation, reward, terminated, _, _ = env.step(action)
            np.testing.assert_array_equal(observation, episode.observations[step + 1])
            assert reward == episode.rewards[step]
            assert terminated == episode.terminations[step]
    env.close()
