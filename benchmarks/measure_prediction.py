"""How long a world model's predictions hold on episodes it has not seen, beside naive guesses, MuJoCo and a rival.

python benchmarks/measure_prediction.py models=[outputs/hopper/model_0,outputs/hopper/model_1] \
    train=outputs/hopper/data dataset=outputs/hopper/held_out output=outputs/hopper/prediction

The held-out recording has another seed and an episode limit that leaves room for long horizons:

python datasets/collect_episodes.py task=hopper task.max_episode_steps=250 num_steps=10000 seed=1000 cameras=[] \
    output=outputs/hopper/held_out
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from wm_gym.config import REQUIRED, run_program
from wm_gym.data.episodes import Dataset, open_dataset
from wm_gym.data.segments import split_episodes
from wm_gym.errors import ConfigError, ModelError
from wm_gym.evaluation import baselines
from wm_gym.evaluation.charts import shown
from wm_gym.evaluation.held_out import HeldOut, check_held_out, stack_windows
from wm_gym.evaluation.identity import command_line, describe_machine, installed_versions
from wm_gym.evaluation.prediction import Predicted, Scale, imagine_open_loop
from wm_gym.evaluation.prediction_benchmark import Predictor, measure_prediction
from wm_gym.evaluation.prediction_chart import write_chart
from wm_gym.evaluation.report import rounded
from wm_gym.evaluation.rival import Rival, read_rival, windows_identity
from wm_gym.files import write_json
from wm_gym.models import TrainedModel, load_model
from wm_gym.physics.tasks import make_physics, set_physics_state


@dataclass
class Settings:
    """Settings of one robot's benchmark."""

    models: list[str] = field(default=REQUIRED, metadata={"help": "our model folders of one robot, one per seed"})
    train: str = field(default=REQUIRED, metadata={"help": "the recording that the models were fitted to"})
    dataset: str = field(default=REQUIRED, metadata={"help": "the held-out recording"})
    output: str = field(default=REQUIRED, metadata={"help": "folder for result.json and prediction.svg"})
    rivals: list[str] = field(default_factory=list, metadata={"help": "folders of benchmarks/fit_mbrl.py"})
    stride: int = field(default=40, metadata={"help": "steps between the moments from which an episode is predicted"})
    horizon: int = field(default=200, metadata={"help": "steps predicted"})
    seed: int = field(default=0, metadata={"help": "of the floor's noise and of the bootstrap"})


def main(settings: Settings) -> None:
    """Hold world models against what was recorded, over up to 200 steps of episodes that they have not seen."""
    started = time.perf_counter()
    check(settings)
    trained = [load_model(folder) for folder in settings.models]
    if seeing := next((model for model in trained if model.model.cameras), None):
        raise ConfigError(f"{seeing.folder} sees through a camera: benchmarks/measure_video.py is for such models")
    training, recorded = open_dataset(settings.train), open_dataset(settings.dataset)
    check_held_out(recorded, training)
    check_models(trained, training)
    held_out, origins = stack_windows(list(recorded.episodes()), settings.stride, settings.horizon)
    windows = windows_identity(held_out, recorded, training, settings.stride)
    rivals = [read_rival(folder, windows) for folder in settings.rivals]
    print(
        f"{recorded.task.name}: {len(held_out.episodes)} windows of {len(recorded)} held-out episodes, up to "
        f"{held_out.horizon} steps; {len(trained)} models, {len(rivals)} rivals"
    )
    episodes = list(training.episodes(split_episodes(training, int(trained[0].manifest["seed"])).train))
    predictors = our_predictors(trained, held_out) + rival_predictors(rivals)
    predictors += naive_predictors(held_out, episodes) + floor_predictor(recorded, held_out, settings.seed)
    values = measure_prediction(
        predictors, held_out, origins.tolist(), Scale.of(episodes), recorded.task, np.random.default_rng(settings.seed)
    )
    folder = Path(settings.output)
    provenance = describe(settings, trained, training, recorded, rivals, windows)
    write_chart(folder / "prediction.svg", values, recorded.task.name)
    seconds = {"wall_seconds": round(time.perf_counter() - started, 1)}
    write_json(folder / "result.json", provenance | rounded(values) | seconds)
    show(values)
    print(f"benchmark: {folder}")


def check(settings: Settings) -> None:
    """Refuse settings out of range before anything is read."""
    if not settings.models:
        raise ConfigError("models=[]: name at least one model folder")
    for name in ("stride", "horizon"):
        if getattr(settings, name) < 1:
            raise ConfigError(f"{name}={getattr(settings, name)}: at least 1 is needed")


def check_models(trained: Sequence[TrainedModel], training: Dataset) -> None:
    """All models must have learnt from the training recording, and each with a seed of its own."""
    for model in trained:
        learnt = dict(model.manifest.get("dataset", {})).get("sha256")
        if learnt != training.digest():
            raise ModelError(f"{model.folder}: was not fitted to {training.folder} (its dataset's sha256 is {learnt})")
    seeds = [model.manifest.get("seed") for model in trained]
    if len(set(seeds)) < len(seeds):
        raise ConfigError(f"models=...: training seeds {seeds} repeat; an interval over seeds needs different ones")


def our_predictors(trained: Sequence[TrainedModel], held_out: HeldOut) -> list[Predictor]:
    """The world model, one prediction for each training seed."""
    bar = tqdm(trained, desc="imagine", unit="model")
    return [Predictor("wm_gym", "model", "wm_gym", [imagine_open_loop(model.model, held_out) for model in bar])]


def rival_predictors(rivals: Sequence[Rival]) -> list[Predictor]:
    """Each library with its training seeds."""
    libraries: dict[str, list[Predicted]] = {}
    for rival in rivals:
        libraries.setdefault(rival.library, []).append(rival.predicted)
    return [Predictor(name.split()[0], "rival", name, seeds) for name, seeds in libraries.items()]


def naive_predictors(held_out: HeldOut, episodes: Sequence[Any]) -> list[Predictor]:
    """What any model must beat; the linear one is fitted to the training episodes of the first model."""
    linear = baselines.fit_autoregression(episodes)
    return [
        Predictor("persistence", "baseline", "nothing changes", [Predicted(baselines.persistence(held_out))]),
        Predictor("velocity", "baseline", "constant velocity", [Predicted(baselines.constant_velocity(held_out))]),
        Predictor("arx", "baseline", "linear (ridge ARX)", [Predicted(linear.rollout(held_out))]),
    ]


def floor_predictor(recorded: Dataset, held_out: HeldOut, seed: int) -> list[Predictor]:
    """MuJoCo itself from a start that is slightly off; none for a recording without a simulator's states."""
    if recorded.task.env_id is None or held_out.episodes[0].qpos is None:
        return []

    def track(rows: Sequence[int]) -> Any:
        return tqdm(rows, desc="MuJoCo", unit="window")

    env = make_physics(recorded.task, max_episode_steps=held_out.horizon + 1)
    try:
        found = baselines.physics_floor(env, held_out, set_physics_state, np.random.default_rng([seed, 1]), track=track)
    finally:
        env.close()
    return [Predictor("floor", "floor", "MuJoCo's own floor", [Predicted(*found)])]


def describe(
    settings: Settings,
    trained: Sequence[TrainedModel],
    training: Dataset,
    recorded: Dataset,
    rivals: Sequence[Rival],
    windows: Mapping[str, Any],
) -> dict[str, Any]:
    """What was judged, with what, and how to do it again."""
    return {
        "task": recorded.task.name,
        "command": command_line(),
        "machine": describe_machine(),
        "versions": installed_versions(),
        "seed": settings.seed,
        "models": [
            {
                "folder": str(model.folder),
                "seed": model.manifest["seed"],
                "sha256": model.manifest["files"]["model.safetensors"],
                "commands": model.manifest.get("commands", []),
                "fit": model.manifest.get("fit", {}),
            }
            for model in trained
        ],
        "rivals": [{"folder": folder, **rival.details} for folder, rival in zip(settings.rivals, rivals, strict=True)],
        "recordings": {
            name: {
                "sha256": dataset.digest(),
                "seed": dataset.manifest.get("seed"),
                "command": dataset.manifest.get("command"),
                "episodes": len(dataset),
                "steps": dataset.num_steps,
                "max_episode_steps": dataset.task.max_episode_steps,
                "steps_by_behaviour": _steps_by_behaviour(dataset),
            }
            for name, dataset in (("train", training), ("held_out", recorded))
        },
        "cut": {"starts": f"0, {settings.stride}, {2 * settings.stride}, ...", **windows},
        "floor_noise": baselines.SENSOR_NOISE,
    }


def _steps_by_behaviour(dataset: Dataset) -> dict[str, int]:
    steps: dict[str, int] = {}
    for behaviour, length in zip(dataset.behaviours, dataset.lengths.tolist(), strict=True):
        steps[behaviour] = steps.get(behaviour, 0) + length
    return dict(sorted(steps.items()))


def show(values: Mapping[str, Any]) -> None:
    """Errors by horizon, and how long each predictor stays valid."""
    table, limit = values["table"], values["valid_time_limit"]
    heads = "".join(f"{row['horizon']}{'' if row['judged'] else '*'}".rjust(9) for row in table)
    print(f"\n{'nRMSE after steps':<22}{heads}{'valid time':>12}")
    for predictor in values["predictors"]:
        errors = [row["errors"][predictor["id"]] for row in table]
        mean = predictor["valid_time"]["mean"]
        print(f"{predictor['name'][:21]:<22}{_cells(errors, 'value')}{shown(mean['value']):>12}")
        if predictor["kind"] == "model":
            for end in ("low", "high"):
                print(f"{f'  {end} end, 95 %':<22}{_cells(errors, end)}{shown(mean[end]):>12}")
    print(f"{'windows':<22}" + "".join(f"{row['windows']:>9}" for row in table))
    print(f"{'skill':<22}{_cells([row['skill'] for row in table], 'value')}")
    print(f"{'  low end, 95 %':<22}{_cells([row['skill'] for row in table], 'low')}")
    print(f"valid time: mean steps to the first nRMSE above {values['valid_below']:g}, at most {limit}", end="")
    print("; * drawn but not judged" if not all(row["judged"] for row in table) else "")
    for name, ratio in values["valid_time_ratios"].items():
        interval = f"[{shown(ratio['low'])}, {shown(ratio['high'])}]"
        print(f"valid time of wm_gym / {name}: {shown(ratio['value'])} {interval}")
    verdict = values["verdict"]
    if verdict["skill_above_zero"] is not None:
        found = "above zero" if verdict["skill_above_zero"] else "NOT above zero everywhere"
        lowest = f"lowest {shown(verdict['lowest_skill']['value'])} at {verdict['at_horizon']}"
        print(f"skill at {verdict['judged_horizons']} judged horizons up to 100: {found} ({lowest})")
    print()


def _cells(figures: Sequence[Mapping[str, float | None]], part: str) -> str:
    return "".join(f"{'-' if (value := figure[part]) is None else shown(value):>9}" for figure in figures)


if __name__ == "__main__":
    run_program(main, Settings)
