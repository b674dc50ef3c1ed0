"""Write toy_arm/, a folder of LeRobot's own with nothing of ours in it: a joint that a random torque swings.

    LEROBOT_PYTHON tests/compatibility/write_with_lerobot.py

Run it with the interpreter of an environment that holds LeRobot (toy_arm/ was written by 0.4.4). Reads no network.
"""

import os
import shutil
from pathlib import Path

import numpy as np

EPISODES, ROWS = 8, 30


def main():
    os.environ["HF_HUB_OFFLINE"] = "1"  # read when LeRobot is imported
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    folder = Path(__file__).parent / "toy_arm"
    shutil.rmtree(folder, ignore_errors=True)
    features = {
        "observation.state": {"dtype": "float32", "shape": (2,), "names": ["q", "dq"]},
        "action": {"dtype": "float32", "shape": (1,), "names": ["u"]},
    }
    dataset = LeRobotDataset.create(
        "local/toy_arm", fps=20, root=folder, features=features, robot_type="toy_arm", use_videos=False
    )
    rng = np.random.default_rng(0)
    for _ in range(EPISODES):
        q, v = 0.5 * rng.normal(size=2)
        for _ in range(ROWS):
            u = rng.uniform(-1, 1)
            state, action = np.array([q, v], np.float32), np.array([u], np.float32)
            dataset.add_frame({"observation.state": state, "action": action, "task": "swing"})
            v += 0.05 * (8 * u - 2 * q)
            q += 0.05 * v
        dataset.save_episode()
    dataset.finalize()


if __name__ == "__main__":
    main()
