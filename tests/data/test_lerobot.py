import json
import os
import subprocess
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from wm_gym.data import lerobot

PROGRAM = Path(__file__).parents[1] / "compatibility/read_with_lerobot.py"


def test_features_describe_the_table_as_lerobot_wants_it(tmp_path, record):
    """A feature of size 1 is a plain number in the table; every column is a feature; a video is no column."""
    dataset, _ = record(tmp_path / "data", cameras=("main",), action=1)
    info = json.loads((dataset.folder / lerobot.INFO).read_text())
    schema = pq.read_schema(dataset.folder / lerobot.DATA)
    features = info["features"]
    assert set(schema.names) == set(features) - {"observation.images.main"}
    assert features["action"]["shape"] == [1] and str(schema.field("action").type) == "float"
    assert features["observation.state"]["shape"] == [3]
    assert schema.field("observation.state").type.list_size == 3
    assert features["observation.images.main"]["shape"] == [16, 24, 3]
    assert (info["codebase_version"], info["fps"]) == ("v3.0", 50)
    assert (info["total_episodes"], info["total_frames"]) == (3, 12)
    rows = pq.read_table(dataset.folder / lerobot.EPISODES).to_pydict()
    assert rows["length"] == [5, 3, 4] and rows["dataset_to_index"] == [5, 8, 12]
    assert rows["videos/observation.images.main/from_timestamp"] == [0.0, 0.1, 0.16]
    assert rows["tasks"] == [["fake"]] * 3
    stats = json.loads((dataset.folder / lerobot.STATS).read_text())
    assert set(stats) == set(features)


@pytest.mark.parametrize(("control_dt", "fps"), [(0.02, 50), (0.008, 125), (1 / 30, 30), (0.0333, 30), (3.0, 1)])
def test_the_nominal_rate_is_a_whole_number(control_dt, fps):
    assert lerobot.nominal_fps(control_dt) == fps


def test_videos_are_filled_in_order_and_no_episode_is_cut(monkeypatch):
    monkeypatch.setattr(lerobot, "MAX_VIDEO_SECONDS", 2.0)
    places = lerobot.assign_video_files([10, 10, 1, 30, 5], fps=10)
    assert places == [(0, 0), (0, 10), (1, 0), (2, 0), (3, 0)]


@pytest.mark.slow
@pytest.mark.skipif("LEROBOT_PYTHON" not in os.environ, reason="LEROBOT_PYTHON names no interpreter with LeRobot 0.4.4")
@pytest.mark.parametrize(
    "options", [{"cameras": ("main", "side")}, {}, {"state": 0, "action": 1, "cameras": ("main",)}]
)
def test_lerobot_reads_every_frame(tmp_path, record, options):
    dataset, _ = record(tmp_path / "data", **options)
    command = [os.environ["LEROBOT_PYTHON"], str(PROGRAM), str(dataset.folder)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert result.returncode == 0, result.stderr[-2000:]
    assert "LeRobot read 12 frames of 3 episodes" in result.stdout
