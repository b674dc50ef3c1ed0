"""Which robots there are, how each is looked at, and how a TaskSpec becomes a running physics environment."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import gymnasium
import mujoco
import numpy as np
from gymnasium.envs.mujoco import MujocoEnv
from gymnasium.envs.registration import load_env_creator

from wm_gym.errors import ConfigError
from wm_gym.physics.observation_map import describe_observation
from wm_gym.types import BoxSpec, CameraSpec, FloatArray, TaskSpec

PhysicsEnv = gymnasium.Env[Any, Any]


@dataclass(frozen=True)
class _Robot:
    """A robot that comes with the package: its environment, and a camera from which its motion is seen well."""

    env_id: str
    camera: CameraSpec
    env_kwargs: Mapping[str, Any] = field(default_factory=dict)


def _side(body: str, height: float, distance: float, elevation: float = -10.0, azimuth: float = 90.0) -> CameraSpec:
    """A camera that travels beside a walking robot, its eye at a constant height, so that a fall is seen as one."""
    return CameraSpec(
        "side",
        lookat=(0.0, 0.0, height),
        distance=distance,
        azimuth=azimuth,
        elevation=elevation,
        track_body=body,
    )


_ROBOTS: dict[str, _Robot] = {
    # The arm reaches 0.22 m and fills the frame; its smooth edges tell where it is to a fraction of a pixel of 7 mm.
    "reacher": _Robot(
        "Reacher-v5",
        CameraSpec("top", lookat=(0.0, 0.0, 0.0), distance=0.55, azimuth=90.0, elevation=-90.0, samples=4),
    ),
    "inverted_pendulum": _Robot(
        "InvertedPendulum-v5", CameraSpec("side", lookat=(0.0, 0.0, 0.15), distance=2.6, elevation=-10.0)
    ),
    "inverted_double_pendulum": _Robot(
        "InvertedDoublePendulum-v5", CameraSpec("side", lookat=(0.0, 0.0, 0.3), distance=3.3, elevation=-10.0)
    ),
    "pusher": _Robot(
        "Pusher-v5", CameraSpec("front", lookat=(0.3, -0.4, -0.2), distance=2.2, azimuth=180.0, elevation=-40.0)
    ),
    "swimmer": _Robot("Swimmer-v5", _side("torso", height=0.0, distance=4.6, elevation=-70.0)),
    "hopper": _Robot("Hopper-v5", _side("torso", height=0.8, distance=2.8)),
    "half_cheetah": _Robot("HalfCheetah-v5", _side("torso", height=0.5, distance=3.0)),
    "walker2d": _Robot("Walker2d-v5", _side("torso", height=0.8, distance=2.9)),
    "ant": _Robot(
        "Ant-v5",
        _side("torso", height=0.4, distance=4.0, elevation=-35.0, azimuth=120.0),
        {"include_cfrc_ext_in_observation": False},
    ),
    "humanoid": _Robot("Humanoid-v5", _side("torso", height=0.9, distance=3.1, elevation=-15.0, azimuth=120.0)),
}


def list_tasks() -> tuple[str, ...]:
    """Names of the robots that come with the package."""
    return tuple(_ROBOTS)


def task_spec(
    name: str | None = None,
    env_id: str | None = None,
    env_kwargs: Mapping[str, Any] | None = None,
    max_episode_steps: int | None = None,
    cameras: Sequence[CameraSpec] | None = None,
) -> TaskSpec:
    """Describe a task: spaces, clock, limit, cameras and what its observation means, found by playing it briefly.

    Args:
        name: a robot of :func:`list_tasks`.
        env_id: another version of that robot (``Hopper-v4``), or any other registered Gymnasium MuJoCo id; such a task
            is named by its id.
        env_kwargs: passed to the environment, over the robot's own.
        max_episode_steps: the episode limit; None for the id's own.
        cameras: None for the robot's default camera, empty for none.

    Raises:
        ConfigError: the name or the id does not exist, is no MuJoCo environment or refuses its kwargs.
    """
    if env_id is None and name not in _ROBOTS:
        raise ConfigError(f"task {name!r} does not exist (one of {', '.join(_ROBOTS)}; or give env_id=...)")
    robot = _ROBOTS.get(name or "")
    if robot is not None and _family(env_id or robot.env_id) == _family(robot.env_id):
        env_kwargs = {**robot.env_kwargs, **(env_kwargs or {})} if env_id is None else env_kwargs
        env_id = env_id or robot.env_id
    else:
        name = env_id  # a robot's name and camera are not lent to another robot
    assert env_id is not None and name is not None
    limit = max_episode_steps or _registered(env_id).max_episode_steps or 1000
    draft = TaskSpec(name, BoxSpec((), ()), BoxSpec((), ()), 0.0, limit, env_id, dict(env_kwargs or {}))
    env = make_physics(draft)
    try:
        world = physics_of(env)
        return replace(
            draft,
            observation_space=_box(env.observation_space, env_id),
            action_space=_box(env.action_space, env_id),
            control_dt=float(world.dt),
            cameras=(standard_camera(draft, world.model),) if cameras is None else tuple(cameras),
            observation_map=describe_observation(env, seed=0),
        )
    finally:
        env.close()


def make_physics(task: TaskSpec, max_episode_steps: int | None = None) -> PhysicsEnv:
    """Start the physics of a task, with the task's own time limit or the given one.

    Only an id that this process has already registered is made: the id may come from a recording, and an id of the
    form ``module:name`` would import what the recording names.

    Raises:
        ConfigError: there is no simulator of the task, or it cannot be made.
    """
    if task.env_id is None:
        raise ConfigError(f"task {task.name!r} was recorded without a simulator: there is no physics to run")
    spec = _registered(task.env_id)
    limit = max_episode_steps or task.max_episode_steps
    try:
        with _quiet():
            return gymnasium.make(spec, max_episode_steps=limit, disable_env_checker=True, **task.env_kwargs)
    except Exception as error:  # whatever an environment makes of keyword arguments that a file may have named
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ConfigError(f"{task.env_id} with {dict(task.env_kwargs)} cannot be made: {reason}") from error


def physics_of(env: PhysicsEnv) -> MujocoEnv:
    """The MuJoCo environment inside the wrappers: its ``model``, ``data`` and ``dt``."""
    world = env.unwrapped
    if not isinstance(world, MujocoEnv):
        raise ConfigError(f"{env} is not a Gymnasium MuJoCo environment")
    return world


def get_physics_state(env: PhysicsEnv) -> tuple[FloatArray, FloatArray]:
    """Copies of qpos (nq,) and qvel (nv,), float64."""
    data = physics_of(env).data
    return np.array(data.qpos, dtype=np.float64), np.array(data.qvel, dtype=np.float64)


def set_physics_state(env: PhysicsEnv, qpos: FloatArray, qvel: FloatArray) -> FloatArray:
    """Put the robot at qpos (nq,) and qvel (nv,), and return what it observes there (S,).

    What follows depends on this state alone: the solver's memory of earlier steps is wiped too. Reset the environment
    once before, as its wrappers ask; the time limit goes on counting from that reset.
    """
    world: Any = physics_of(env)
    if np.shape(qpos) != (world.model.nq,) or np.shape(qvel) != (world.model.nv,):
        wanted = f"({world.model.nq},) and ({world.model.nv},)"
        raise ConfigError(f"qpos and qvel must have shapes {wanted}, not {np.shape(qpos)} and {np.shape(qvel)}")
    mujoco.mj_resetData(world.model, world.data)
    world.set_state(np.asarray(qpos, dtype=np.float64), np.asarray(qvel, dtype=np.float64))
    return np.asarray(world._get_obs(), dtype=np.float64)


def _registered(env_id: str) -> gymnasium.envs.registration.EnvSpec:
    """The registered spec of a MuJoCo id, checked before anything of it runs."""
    if ":" in env_id:
        raise ConfigError(f"env_id={env_id} is refused: an id with a module would import it; import it first yourself")
    spec = gymnasium.registry.get(env_id)
    known = ", ".join(sorted(name for name in gymnasium.registry if _is_mujoco(name) and name.endswith("-v5")))
    if spec is None:
        raise ConfigError(f"env_id={env_id} is not registered in Gymnasium (MuJoCo ids: {known})")
    if not _is_mujoco(env_id):
        raise ConfigError(f"env_id={env_id} is not a MuJoCo environment of today's Gymnasium (MuJoCo ids: {known})")
    return spec


def _family(env_id: str) -> str:
    return env_id.rpartition("-v")[0]


def _is_mujoco(env_id: str) -> bool:
    entry: Any = gymnasium.registry[env_id].entry_point
    if isinstance(entry, str) and entry.startswith("gymnasium.") and not entry.startswith("gymnasium.envs.mujoco."):
        return False  # known without importing, for example, Box2D
    creator: Any = load_env_creator(entry) if isinstance(entry, str) else entry
    return isinstance(creator, type) and issubclass(creator, MujocoEnv)


def standard_camera(task: TaskSpec, model: mujoco.MjModel) -> CameraSpec:
    """A robot's own view; for one that is not known, its model's camera that follows it, or the free camera."""
    if task.name in _ROBOTS:
        return _ROBOTS[task.name].camera
    names = [model.camera(index).name for index in range(model.ncam)]
    return CameraSpec("main", fixed="track" if "track" in names else None)


def _box(space: gymnasium.Space[Any], env_id: str) -> BoxSpec:
    if not isinstance(space, gymnasium.spaces.Box) or len(space.shape) != 1:
        raise ConfigError(f"{env_id} has the space {space}: only vectors of numbers are recorded")
    return BoxSpec(tuple(map(float, space.low)), tuple(map(float, space.high)))


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep remarks on how a robot's file is written, and on an id's age, out of the user's terminal and folder.

    They are meant for the authors of the file; MuJoCo would also leave a MUJOCO_LOG.TXT in the current folder.
    """
    before = mujoco.get_mju_user_warning()
    mujoco.set_mju_user_warning(lambda message: None)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            warnings.filterwarnings("ignore", message=".*(out of date|deprecated|precision lowered)")
            yield
    finally:
        mujoco.set_mju_user_warning(before)
