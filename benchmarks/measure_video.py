"""How true the pictures of a camera model stay: where the robot is in them, and what its actions do.

python benchmarks/measure_video.py model=outputs/reacher/camera train=outputs/reacher/data \
    dataset=outputs/reacher/held_out output=outputs/reacher/video

The held-out recording has another seed and episodes longer than the context and the horizon:

python datasets/collect_episodes.py task=reacher task.max_episode_steps=100 num_steps=10000 seed=1000 \
    output=outputs/reacher/held_out
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from wm_gym.config import REQUIRED, run_program
from wm_gym.data.episodes import Dataset, open_dataset
from wm_gym.data.frames import cache_frames, check_same_views
from wm_gym.data.segments import split_episodes
from wm_gym.errors import ConfigError, ModelError
from wm_gym.evaluation.held_out import check_held_out
from wm_gym.evaluation.identity import command_line, describe_machine, installed_versions
from wm_gym.evaluation.readout import LabelledFrames, Place, ReadOut, place_of, train_readout
from wm_gym.evaluation.video import judge_effects, judge_permanence, judge_video, video_table
from wm_gym.evaluation.video_film import compare_frames, strip
from wm_gym.evaluation.video_windows import VideoWindows, cut_windows, draw_frames, imagine_steps, observe_context
from wm_gym.files import replacing, write_json
from wm_gym.models import TrainedModel, load_model
from wm_gym.physics.tasks import get_physics_state, make_physics, set_physics_state
from wm_gym.types import Episode, FrameArray, TaskSpec

_EFFECT_STEPS = 10
_KEPT = 400  # windows that are judged at most


@dataclass
class VideoConfig:
    """Settings of one robot's video benchmark."""

    model: str = field(default=REQUIRED, metadata={"help": "a camera model: shipped name or folder"})
    train: str = field(default=REQUIRED, metadata={"help": "the recording that it was fitted to: trains the read-out"})
    dataset: str = field(default=REQUIRED, metadata={"help": "the held-out recording"})
    output: str = field(default=REQUIRED, metadata={"help": "folder for result.json, film.mp4 and strip.png"})
    camera: str | None = field(default=None, metadata={"help": "which one is judged; null: the model's first"})
    horizon: int = field(default=50, metadata={"help": "steps imagined"})
    stride: int = field(default=25, metadata={"help": "steps between the moments from which an episode is imagined"})
    hidden: int = field(default=15, metadata={"help": "steps for which the camera is hidden, to look again"})
    readout_updates: int = field(default=3000, metadata={"help": "gradient steps of the read-out on true frames"})
    skip_bad: bool = field(default=False, metadata={"help": "leave episodes with bad video out of the read-out"})
    seed: int = field(default=0, metadata={"help": "of the read-out, the shuffling and the bootstrap"})
    threads: int = field(default=0, metadata={"help": "torch threads; 0 leaves torch's own choice"})


def main(config: VideoConfig) -> None:
    """Hold a camera model's pictures against held-out video, by where the robot is in them."""
    started = time.perf_counter()
    if min(config.horizon, config.stride, config.hidden, config.readout_updates) < 1:
        raise ConfigError("horizon, stride, hidden and readout_updates: each must be at least 1")
    if config.threads > 0:
        torch.set_num_threads(config.threads)
    trained = load_model(config.model)
    names = [camera.name for camera in trained.model.cameras]
    if not names:
        raise ModelError(
            f"model={config.model} draws no pictures: benchmarks/measure_prediction.py is for state models"
        )
    camera = config.camera or names[0]
    if camera not in names:
        raise ConfigError(f"camera={camera!r}: the model draws {', '.join(names)}")
    training, recorded = open_dataset(config.train), open_dataset(config.dataset)
    check_held_out(recorded, training)
    for dataset in (training, recorded):
        check_same_views(dataset, trained.model.cameras)
    place = place_of(trained.task)
    episodes = [recorded.episode(index, [camera]) for index in range(len(recorded))]
    windows = cut_windows(episodes, camera, place, trained.model.context, config.horizon, config.stride)
    windows = windows.rows(np.random.default_rng(config.seed).permutation(len(windows.frames))[:_KEPT])
    with _bar("read-out", config.readout_updates) as advance:
        readout, mean_frame = _readout(config, training, camera, place, advance)
    found: dict[str, Any] = {"place": place.name, "unit": place.unit, "context": trained.model.context}
    found |= judge_video(trained.model, camera, windows, readout, mean_frame, config.seed)
    if windows.qpos is not None and trained.task.env_id is not None:
        found["effects"] = _effects(trained, camera, windows, readout, place)
    if config.horizon > config.hidden + _EFFECT_STEPS:
        found["permanence"] = judge_permanence(trained.model, camera, windows, readout, config.hidden, config.seed)
    folder = Path(config.output)
    _film(trained, camera, windows, folder)
    about = {"settings": asdict(config), "task": trained.task.name, "model": dict(trained.manifest["files"])}
    about |= {"command": command_line(), "machine": describe_machine(), "versions": installed_versions()}
    about["recordings"] = {"train": training.digest(), "held_out": recorded.digest()}
    write_json(folder / "result.json", about | found | {"wall_seconds": round(time.perf_counter() - started, 1)})
    _show(found)
    print(f"benchmark: {folder}")


def _readout(
    config: VideoConfig, training: Dataset, camera: str, place: Place, advance: Callable[[int], None]
) -> tuple[ReadOut, FrameArray]:
    """A read-out of the true frames of the training recording, and their mean."""
    split = split_episodes(training, config.seed)
    episodes = list(training.episodes())
    with tempfile.TemporaryDirectory() as folder:
        cache = cache_frames(training, [camera], Path(folder), config.skip_bad)
        usable = [[i for i in part if i not in cache.bad] for part in (split.train, split.validation)]
        parts = [
            LabelledFrames(cache.frames[camera], cache.rows(chosen), _places(place, episodes, chosen))
            for chosen in usable
        ]
        readout = train_readout(parts[0], parts[1], config.readout_updates, config.seed, advance)
        some = cache.frames[camera][:: max(1, len(cache.frames[camera]) // 2000)]
        return readout, some.mean(0).round().astype(np.uint8)


def _places(place: Place, episodes: Sequence[Episode], chosen: Sequence[int]) -> np.ndarray:
    return np.concatenate([place.of(episodes[index]) for index in chosen])


def _effects(
    trained: TrainedModel, camera: str, windows: VideoWindows, readout: ReadOut, place: Place
) -> list[dict[str, float]]:
    """Actions against MuJoCo's, from at most a hundred states."""
    task: TaskSpec = trained.task
    env = make_physics(task, max_episode_steps=10_000)
    bounds = np.array(task.action_space.low, np.float32), np.array(task.action_space.high, np.float32)

    def physics(qpos: np.ndarray, qvel: np.ndarray, actions: np.ndarray) -> np.ndarray:
        env.reset(seed=0)
        set_physics_state(env, qpos, qvel)
        observation = [env.step(action)[0] for action in actions][-1]
        position, velocity = (part[None] for part in get_physics_state(env))
        none = actions[:0]
        there = Episode(
            observation[None].astype(np.float32), none, none[:, 0], False, True, task.control_dt, {}, position, velocity
        )
        return place.of(there)[0]

    try:
        some = windows.rows(np.arange(min(100, len(windows.frames))))
        return judge_effects(trained.model, camera, some, readout, physics, bounds, _EFFECT_STEPS)
    finally:
        env.close()


def _film(trained: TrainedModel, camera: str, windows: VideoWindows, folder: Path) -> None:
    """The first window as a film with its uncertainty, and as a strip."""
    one = windows.rows(np.arange(1))
    latents = imagine_steps(
        trained.model, observe_context(trained.model, camera, one), one.actions[:, trained.model.context :]
    )
    drawn = draw_frames(trained.model, camera, latents)[0]
    doubts = []
    for step, latent in enumerate(latents):
        said = trained.model.predict(latent)
        distance = trained.support.distance(trained.model.features(latent, said))
        expected = trained.calibration.expected_error(said.spread, distance, torch.tensor([step + 1]), True)
        doubts.append(expected.item())
    rate = max(1, round(1 / trained.task.control_dt))
    sha256 = str(trained.manifest["files"]["model.safetensors"])
    pictures = {
        "film.mp4": compare_frames(one.truth[0], drawn, np.array(doubts), rate, trained.task.name, sha256),
        "strip.png": strip(one.truth[0], drawn, [h for h in (1, 5, 10, 25, 50) if h <= len(drawn)]),
    }
    for name, content in pictures.items():
        with replacing(folder / name) as partial:
            partial.write_bytes(content)


def _show(found: dict[str, Any]) -> None:
    print(f"\n{found['place']}, median of {found['windows']} windows of {found['episodes']} episodes, {found['unit']}")
    names = ["imagination", "shuffled actions", "last frame", "mean frame", "true frames"]
    print("\n".join(video_table(found, names)))
    for figure in ("psnr", "ssim"):
        print(f"\n{figure + ' where something moves':<30}" + "".join(f"{h:>10}" for h in found["by_horizon"]))
        for name in ("imagination", "last frame", "mean frame"):
            cells = [row[name][figure] for row in found["by_horizon"].values()]
            print(f"{name:<30}" + "".join(f"{cell:>10.3f}" for cell in cells))
    print()
    for effect in found.get("effects", ()):
        print(f"action {effect['axis']}: {effect['ratio']:.2f} of MuJoCo's effect, agrees in {effect['agreement']:.0%}")
    if "permanence" in found:
        told = found["permanence"]
        shown = ", ".join(f"{name.replace('_', ' ')} {told[name]['value']:.2f}" for name in list(told)[1:])
        print(f"camera hidden for {told['hidden_steps']} steps: {shown} {found['unit']}")


@contextmanager
def _bar(name: str, updates: int) -> Iterator[Callable[[int], None]]:
    with tqdm(total=updates, desc=name, unit="update", file=sys.stderr, mininterval=0.5) as bar:
        yield lambda done: bar.update(done - bar.n)


if __name__ == "__main__":
    run_program(main, VideoConfig)
