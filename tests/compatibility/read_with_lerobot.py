"""Read a recorded dataset with LeRobot itself and compare every frame with what the files hold.

    LEROBOT_PYTHON tests/compatibility/read_with_lerobot.py FOLDER

Run it with the interpreter of an environment that holds LeRobot (0.4.4 wants an older torch than ours); wm_gym need not
be installed there. Reads no network. Exits with 1 and says why if LeRobot disagrees with the files.
"""

import os
import sys
import warnings
from pathlib import Path

import av
import numpy as np
import pyarrow.parquet as pq

FRAME_TOLERANCE = 12
"""Levels of 255: LeRobot's decoder converts colours by another rounding than ours."""


def decode(path):
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def main(folder):
    os.environ["HF_HUB_OFFLINE"] = "1"  # read when LeRobot is imported
    warnings.filterwarnings("ignore")
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    dataset = LeRobotDataset(repo_id="local/dataset", root=folder, video_backend="pyav")
    table = pq.read_table(folder / "data/chunk-000/file-000.parquet").to_pydict()
    rows = len(table["index"])
    cameras = dataset.meta.video_keys
    expected = {key: [] for key in cameras}
    for key in cameras:
        for path in sorted((folder / "videos" / key).glob("*/*.mp4")):
            expected[key].extend(decode(path))
        assert len(expected[key]) == rows, f"{key}: {len(expected[key])} frames for {rows} rows"
    assert len(dataset) == dataset.num_frames == rows, f"LeRobot reads {len(dataset)} frames of {rows}"
    assert dataset.num_episodes == table["episode_index"][-1] + 1
    # Every feature has statistics, or a policy of LeRobot could not normalise it.
    assert set(dataset.meta.features) == set(dataset.meta.stats), "features without statistics"
    worst = 0.0
    for row in range(rows):
        item = dataset[row]
        for name, values in table.items():
            feature = dataset.features[name]
            found = item[name].numpy()
            assert found.size == np.prod(feature["shape"]), f"row {row}: {name} has shape {found.shape}"
            wanted = np.asarray(values[row], feature["dtype"])
            # LeRobot makes float32 tensors of all numbers with a fraction.
            assert np.array_equal(found, wanted.astype(found.dtype)), f"row {row}: {name}: {found} is not {wanted}"
        for key in cameras:
            found = item[key].numpy().transpose(1, 2, 0) * 255
            difference = np.abs(found - expected[key][row]).max()
            assert found.shape == tuple(dataset.features[key]["shape"]), f"row {row}: {key} has shape {found.shape}"
            assert difference <= FRAME_TOLERANCE, f"row {row}: {key} differs by {difference} levels"
            worst = max(worst, float(difference))
        assert isinstance(item["task"], str), f"row {row}: no task"
    print(
        f"LeRobot read {rows} frames of {dataset.num_episodes} episodes at {dataset.fps} fps, "
        f"cameras {cameras}, task {item['task']!r}: all agree (worst pixel {worst:.0f} levels)"
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
