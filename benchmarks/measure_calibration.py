"""Whether a world model knows when it is wrong: coverage of its bound, and doubt against error, also where all changed.

python benchmarks/measure_calibration.py model=outputs/hopper/model dataset=outputs/hopper/test changed=true \
    policies.trained=datasets/behaviours/hopper/trained output=outputs/hopper/calibration_benchmark

The recording has another seed than those that the model was fitted to and calibrated on:

python datasets/collect_episodes.py task=hopper num_steps=100000 seed=3000 cameras=[] output=outputs/hopper/test
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
from wm_gym.errors import ConfigError, DataError, ModelError
from wm_gym.evaluation import calibration as judging
from wm_gym.evaluation.actors import PolicyActor
from wm_gym.evaluation.calibration_chart import write_chart
from wm_gym.evaluation.calibration_worlds import LARGER, NOMINAL, UNSEEN, play_changed
from wm_gym.evaluation.charts import shown
from wm_gym.evaluation.identity import command_line, describe_machine, installed_versions
from wm_gym.evaluation.report import rounded
from wm_gym.files import write_json
from wm_gym.models import TrainedModel, load_model
from wm_gym.models.trust import COVERAGE
from wm_gym.policies.policy import load_policy
from wm_gym.types import Episode

MODES = {"sampled": False, "mean": True}
"""Rollouts as the environment plays them, and with ``deterministic=True``."""


@dataclass
class Settings:
    """Settings of one robot's benchmark."""

    model: str = field(default=REQUIRED, metadata={"help": "a shipped model, or a model folder; a state model"})
    dataset: str = field(default=REQUIRED, metadata={"help": "a recording that the model has nothing to do with"})
    output: str = field(default=REQUIRED, metadata={"help": "folder for result.json and calibration.svg"})
    changed: bool = field(default=False, metadata={"help": "also play robots and policies that were not recorded"})
    policies: dict[str, str] = field(
        default_factory=dict, metadata={"help": "policies.NAME=FOLDER that act in the changed worlds, as in the data"}
    )
    episodes: int = field(default=200, metadata={"help": "in each changed world"})
    stride: int = field(
        default=25,
        metadata={"help": "steps between the moments from which an episode is imagined; as it was calibrated"},
    )
    horizon: int = field(default=100, metadata={"help": "steps imagined"})
    seed: int = field(default=0, metadata={"help": "of the sampling, the random actions and the bootstrap"})


def main(settings: Settings) -> None:
    """Judge a model's uncertainty on episodes that neither its fit nor its calibration has seen."""
    started = time.perf_counter()
    check(settings)
    trained, recorded = load_model(settings.model), open_dataset(settings.dataset)
    check_model(trained, recorded)
    modes = {name: _judge_mode(settings, trained, recorded, mean) for name, mean in MODES.items()}
    changed = _judge_changed(settings, trained) if settings.changed else {}
    values = {
        "task": recorded.task.name,
        "command": command_line(),
        "machine": describe_machine(),
        "versions": installed_versions(),
        "seed": settings.seed,
        "model": {
            "name": settings.model,
            "sha256": trained.manifest["files"]["model.safetensors"],
            "calibration": trained.manifest.get("calibration"),
            "trusted_steps": int(trained.calibration.horizon),
        },
        "recording": {
            "sha256": recorded.digest(),
            "episodes": len(recorded),
            "steps": recorded.num_steps,
            "command": recorded.manifest.get("command"),
        },
        "level": COVERAGE,
        "watched": judging.WATCHED,
        "wrong_above": judging.WRONG,
        "modes": modes,
        "changed": changed,
        "wall_seconds": round(time.perf_counter() - started, 1),
    }
    folder = Path(settings.output)
    write_chart(folder / "calibration.svg", {"level": COVERAGE, **modes["sampled"]}, recorded.task.name)
    write_json(folder / "result.json", rounded(values))
    show(values)
    print(f"benchmark: {folder}")


def check(settings: Settings) -> None:
    """Refuse settings out of range before anything is read."""
    for name in ("episodes", "stride", "horizon"):
        if getattr(settings, name) < 1:
            raise ConfigError(f"{name}={getattr(settings, name)}: at least 1 is needed")
    if settings.policies and not settings.changed:
        raise ConfigError("policies=...: they act in the changed worlds only; give changed=true too")


def check_model(trained: TrainedModel, recorded: Dataset) -> None:
    """Refuse a model without a state, and a recording that it was fitted to or calibrated on, or of another robot."""
    if trained.model.cameras or trained.model.context:
        raise ModelError(f"{trained.folder}: a camera model; benchmarks/measure_video.py judges it")
    seen = [dict(trained.manifest.get(part) or {}).get("sha256") for part in ("dataset", "calibration")]
    if recorded.digest() in seen:
        raise DataError(f"{recorded.folder}: the model was fitted to it or calibrated on it; record another seed=...")
    ours, theirs = trained.task, recorded.task
    if (ours.env_id, ours.observation_space.size) != (theirs.env_id, theirs.observation_space.size):
        raise DataError(f"{recorded.folder} records {theirs.name}, the model imagines {ours.name}")


def _judge_mode(settings: Settings, trained: TrainedModel, recorded: Dataset, deterministic: bool) -> dict[str, Any]:
    """Coverage, discrimination and reliability on the recording."""
    generator, episodes = np.random.default_rng(settings.seed), list(recorded.episodes())
    long = [episode for episode in episodes if len(episode) > judging.WATCHED]

    def imagine(chosen: Sequence[Episode], watched: int) -> judging.Doubts:
        stride, horizon, seed = settings.stride, settings.horizon, settings.seed
        return judging.imagine_doubts(trained, chosen, stride, horizon, deterministic, seed, watched)

    # What a bound promises holds at moments like those of the calibration, which nobody watched beforehand.
    promised, doubts = imagine(episodes, 0), imagine(long, judging.WATCHED)
    calibrated = trained.calibration.scale.shape[1]
    return {
        "episodes": len(episodes),
        "rollouts": len(promised.error),
        "coverage": judging.judge_coverage(promised, calibrated, generator),
        "auroc": judging.judge_discrimination(doubts, generator),
        "reliability": judging.reliability(promised),
    }


def _judge_changed(settings: Settings, trained: TrainedModel) -> dict[str, Any]:
    """Discrimination over unchanged and changed episodes together, of sampled rollouts.

    None where nothing moved; empty where no episode is long enough to be watched.
    """
    space, generator = trained.task.action_space, np.random.default_rng([settings.seed, 1])
    actors = {name: PolicyActor(load_policy(folder), space) for name, folder in settings.policies.items()}
    spread = trained.model.normalizer.std.double().cpu().numpy()
    steps = judging.WATCHED + settings.horizon
    worlds = play_changed(
        trained.task,
        actors,
        spread,
        settings.episodes,
        steps,
        settings.seed,
        lambda rows: tqdm(rows, desc="MuJoCo", unit="episode", leave=False),
    )
    said = {
        name: judging.imagine_doubts(trained, episodes, settings.stride, settings.horizon, False, settings.seed)
        for name, episodes in tqdm(worlds.items(), desc="imagine", unit="world")
        if episodes
    }
    found: dict[str, Any] = {}
    for name in worlds:
        if name == NOMINAL:
            continue
        if name in said:
            found[name] = judging.judge_discrimination(said[NOMINAL].beside(said[name]), generator)
        else:  # other actions always move a robot: where none is left, its episodes were too short to watch
            found[name] = {} if name in (LARGER, UNSEEN) else None
    return found


def show(values: Mapping[str, Any]) -> None:
    """Coverage, and the areas under the curve, with their intervals."""
    print(
        f"\n{values['task']}: coverage of the {values['level']:.0%} bound, {values['recording']['episodes']} episodes"
    )
    for mode, found in values["modes"].items():
        cells = {"pooled": found["coverage"]["pooled"], **found["coverage"]["at"]}
        print(f"  {mode:<10}" + "   ".join(f"{name}: {_interval(cell)}" for name, cell in cells.items()))
    print(
        f"\nAUROC of doubt for nRMSE above {values['wrong_above']:g}: by info['uncertainty'], and times the surprise of"
    )
    print(f"the {values['watched']} steps observed before")
    rows = {f"recorded, {mode}": found["auroc"] for mode, found in values["modes"].items()}
    for name, found in {**rows, **values["changed"]}.items():
        if found is None:
            print(f"  {name:<22}does not move this robot")
            continue
        if not found:
            print(f"  {name:<22}no episode is long enough to tell")
        for horizon, row in found.items():
            if row["expected"] is None:
                print(f"  {name:<22}{horizon:>4}  {row['wrong']} wrong of {row['rollouts']}: too few to tell")
            else:
                print(f"  {name:<22}{horizon:>4}  {_interval(row['expected'])}   {_interval(row['surprised'])}")
    print()


def _interval(figure: Mapping[str, float | None]) -> str:
    value, low, high = (float("nan") if figure[part] is None else figure[part] for part in ("value", "low", "high"))
    return f"{shown(value)} [{shown(low)}, {shown(high)}]"


if __name__ == "__main__":
    run_program(main, Settings)
