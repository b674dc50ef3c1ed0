from dataclasses import replace
from types import SimpleNamespace

import pytest

from wm_gym.errors import ConfigError
from wm_gym.evaluation import throughput_camera
from wm_gym.evaluation.throughput import Runner
from wm_gym.models import load_model
from wm_gym.physics.camera import why_no_camera
from wm_gym.physics.tasks import task_spec

SEEN = task_spec("reacher")


def test_a_model_without_a_camera_is_refused():
    with pytest.raises(ConfigError, match="sees no camera"):
        throughput_camera.check_camera(load_model("reacher"))


def test_the_best_way_to_draw_is_what_imagination_is_held_against(monkeypatch):
    """A latent step at 100 rows a call against two environments, of which the second draws twice as much."""

    def imagined(trained, rows, name, **settings):
        return Runner(name, rows, lambda: None)

    rates = {"latent": 800.0, "image": 100.0, "image, one environment": 60.0, 1: 20.0, 2: 40.0, 4: 30.0}
    monkeypatch.setattr(throughput_camera, "vector_runner", imagined)
    samples = []

    def drawn(task, rows):
        samples.append(task.cameras[0].samples)
        return Runner("MuJoCo", rows, lambda: None)

    monkeypatch.setattr(throughput_camera, "pixels_runner", drawn)
    monkeypatch.setattr(throughput_camera.os, "cpu_count", lambda: 2)

    def timed(makers, blocks, seconds, tell):
        runners = [make() for make in makers]
        keys = [runner.name if runner.name in rates else runner.rows for runner in runners]
        return [{"name": str(key), "rows": r.rows, "median": rates[key]} for key, r in zip(keys, runners, strict=True)]

    monkeypatch.setattr(throughput_camera, "time_in_turn", timed)
    trained = SimpleNamespace(task=SEEN, manifest={})
    found = throughput_camera.measure_camera(trained, 100, 1, 0.0, print)
    assert found["ratios"] == {"latent": 20.0, "image": 2.5}
    assert [figure["rows"] for figure in found["figures"]] == [100, 100, 1, 1, 2, 4]
    assert SEEN.cameras[0].samples > 1 and samples == [1, 1, 1], "MuJoCo draws as fast as it can"


@pytest.mark.skipif(why_no_camera() is not None, reason="this machine cannot draw")
@pytest.mark.parametrize("rows", [1, 2])
def test_mujoco_shows_a_new_frame_in_every_row(rows):
    camera = replace(SEEN.cameras[0], width=16, height=16)
    runner = throughput_camera.pixels_runner(replace(SEEN, cameras=(camera,)), rows)
    try:
        first, *_, second = (runner.advance()[0].copy() for _ in range(20))
        assert first.shape == (rows, 16, 16, 3)
        for row in range(rows):
            assert first[row].std() > 0 and (first[row] != second[row]).any()
    finally:
        runner.close()
