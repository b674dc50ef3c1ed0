"""Fit mbrl-lib's ensemble to a recording and predict held-out windows with it: the rival of measure_prediction.py.

mbrl-lib pins old versions of what it needs, and works with today's; so it gets an environment of its own, without pins:

    python3.11 -m venv outputs/mbrl_env
    outputs/mbrl_env/bin/pip install -c constraints.txt -e . termcolor packaging
    outputs/mbrl_env/bin/pip install --no-deps mbrl==0.2.0
    outputs/mbrl_env/bin/python benchmarks/fit_mbrl.py train=outputs/hopper/data held_out=outputs/hopper/held_out \
        cpu_seconds=900 seed=0 output=outputs/hopper/mbrl_0

The configuration is mbrl-lib's own for PETS (Chua et al. 2018): 7 networks of 4 x 200 SiLU units that predict the mean
and variance of the change and of the reward, trained by maximum likelihood on bootstraps of the transitions, the best 5
kept. Training and validation episodes are those that a model of ours with this seed has. It trains for the whole
budget: its trainer keeps the weights that were best on the validation episodes, so a longer fit cannot hurt it.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from wm_gym.config import REQUIRED, run_program
from wm_gym.data.episodes import Dataset, open_dataset
from wm_gym.data.segments import split_episodes
from wm_gym.errors import ConfigError
from wm_gym.evaluation.charts import shown
from wm_gym.evaluation.held_out import HeldOut, check_held_out, stack_windows
from wm_gym.evaluation.identity import command_line, describe_machine, installed_versions
from wm_gym.evaluation.prediction import Predicted, Scale, normalised_squares
from wm_gym.evaluation.rival import windows_identity, write_rival
from wm_gym.files import read_json
from wm_gym.types import Episode

try:
    import mbrl
    from mbrl.models import GaussianMLP, ModelTrainer, OneDTransitionRewardModel
    from mbrl.types import TransitionBatch
    from mbrl.util.replay_buffer import BootstrapIterator, TransitionIterator
except ModuleNotFoundError as missing:
    sys.exit(f"error: {missing.name} is not installed here; the top of benchmarks/fit_mbrl.py says how to install it")

MEMBERS, LAYERS, WIDTH, ELITES = 7, 4, 200, 5
SELECTION_STEPS = 100
"""The way of propagating is chosen by the mean nRMSE on validation windows up to here."""


@dataclass
class Settings:
    """Settings of one training seed."""

    train: str = field(default=REQUIRED, metadata={"help": "the recording to learn from"})
    held_out: str = field(default=REQUIRED, metadata={"help": "the recording to predict"})
    output: str = field(default=REQUIRED, metadata={"help": "folder for predictions.safetensors and result.json"})
    cpu_seconds: float = field(default=900.0, metadata={"help": "of one thread, for the fit"})
    seed: int = field(default=0, metadata={"help": "of the split, the weights and the bootstraps"})
    learning_rate: float = field(default=1e-3, metadata={"help": "of Adam"})
    weight_decay: float = field(default=5e-5, metadata={"help": "of Adam"})
    learn_bounds: bool = field(default=False, metadata={"help": "learn the bounds of the log-variance"})
    batch_size: int = field(default=256, metadata={"help": "transitions of each network"})
    stride: int = field(default=40, metadata={"help": "as in measure_prediction.py"})
    horizon: int = field(default=200, metadata={"help": "as in measure_prediction.py"})


@dataclass(frozen=True)
class Fit:
    """What the training came to."""

    epochs: int
    updates: int
    cpu_seconds: float
    wall_seconds: float
    validation_score: float
    """mbrl-lib's own: squared error of one step on the validation episodes, raw units, best epoch of each network."""


def main(settings: Settings) -> None:
    """Fit mbrl-lib's ensemble to a recording and predict held-out windows with it."""
    check(settings)
    torch.set_num_threads(1)
    training, recorded = open_dataset(settings.train), open_dataset(settings.held_out)
    check_held_out(recorded, training)
    held_out, _ = stack_windows(list(recorded.episodes()), settings.stride, settings.horizon)
    identity = windows_identity(held_out, recorded, training, settings.stride)
    if finished(settings, identity):
        print(f"rival: {settings.output} is complete already (delete it to fit again)")
        return
    split = split_episodes(training, settings.seed)
    known, validation = list(training.episodes(split.train)), list(training.episodes(split.validation))
    print(f"{training.task.name}: {len(known)} episodes, {settings.cpu_seconds:g} seconds of processor time")
    dynamics, fit = fit_ensemble(training, known, validation, settings)
    scale, unseen = Scale.of(known), stack_windows(validation, settings.stride, settings.horizon)[0]
    errors = {
        name: validation_error(roll_out(dynamics, unseen, name == "expectation"), unseen, scale)
        for name in ("expectation", "trajectories")
    }
    chosen = min(errors, key=lambda name: errors[name])
    predicted = roll_out(dynamics, held_out, chosen == "expectation")
    details = {
        "task": training.task.name,
        "settings": asdict(settings),
        "fit": asdict(fit),
        "propagation": chosen,
        "validation_error": errors,
        "command": command_line(),
        "machine": describe_machine(),
        "versions": installed_versions(),
    }
    write_rival(Path(settings.output), f"mbrl {mbrl.__version__}", settings.seed, predicted, identity, details)
    show(fit, errors, chosen)
    print(f"rival: {settings.output}")


def check(settings: Settings) -> None:
    """Refuse settings out of range before anything is read."""
    for name in ("cpu_seconds", "learning_rate", "batch_size", "stride", "horizon"):
        if getattr(settings, name) <= 0:
            raise ConfigError(f"{name}={getattr(settings, name)}: a positive number is needed")


def finished(settings: Settings, identity: dict[str, Any]) -> bool:
    """Whether an earlier call has finished this very fit. One that was interrupted begins anew: its budget is short."""
    path = Path(settings.output) / "result.json"
    if not path.exists():
        return False
    earlier = read_json(path)
    theirs = {name: value for name, value in dict(earlier.get("settings", {})).items() if name in FITTED}
    if earlier.get("identity") != identity or theirs != {name: getattr(settings, name) for name in FITTED}:
        raise ConfigError(f"{settings.output} holds another result: delete it, or choose another output")
    return True


FITTED = ("cpu_seconds", "seed", "learning_rate", "weight_decay", "learn_bounds", "batch_size")
"""Settings that make two fits to the same recording different."""


def fit_ensemble(
    training: Dataset, known: Sequence[Episode], validation: Sequence[Episode], settings: Settings
) -> tuple[OneDTransitionRewardModel, Fit]:
    """Train within the budget: an epoch, which tells what one takes, and then as many as still fit."""
    torch.manual_seed(settings.seed)
    generator = np.random.default_rng(settings.seed)
    observations, actions = training.task.observation_space.size, training.task.action_space.size
    ensemble = GaussianMLP(
        observations + actions,
        observations + 1,
        "cpu",
        LAYERS,
        MEMBERS,
        WIDTH,
        learn_logvar_bounds=settings.learn_bounds,
    )
    for layer in ensemble.hidden_layers:  # ReLU by default; mbrl-lib's configurations say SiLU, by a class's name
        layer[1] = torch.nn.SiLU()
    dynamics = OneDTransitionRewardModel(
        ensemble, target_is_delta=True, normalize=True, normalize_double_precision=True, num_elites=ELITES
    )
    data = transitions(known)
    dynamics.update_normalizer(data)
    batches = BootstrapIterator(data, settings.batch_size, MEMBERS, shuffle_each_epoch=True, rng=generator)
    tests = TransitionIterator(transitions(validation), settings.batch_size, rng=generator)
    trainer = ModelTrainer(dynamics, settings.learning_rate, settings.weight_decay)
    wall, cpu = time.perf_counter(), time.process_time()
    scores: list[float] = []
    with tqdm(
        total=settings.cpu_seconds, desc="fit", unit="cpu s", bar_format="{l_bar}{bar}| {n:.0f}/{total:.0f}"
    ) as bar:

        def advance(*progress: Any) -> None:
            bar.update(time.process_time() - cpu - bar.n)
            scores.append(float(progress[5].mean()))

        epochs, fitting = 0, 1
        while fitting > 0:
            trainer.train(batches, tests, num_epochs=fitting, callback=advance, silent=True)
            epochs += fitting
            used = time.process_time() - cpu
            fitting = int((settings.cpu_seconds - used) / (used / epochs))
    seconds = time.process_time() - cpu, time.perf_counter() - wall
    return dynamics, Fit(epochs, epochs * len(batches), *(round(value, 1) for value in seconds), scores[-1])


def transitions(episodes: Sequence[Episode]) -> TransitionBatch:
    """Every recorded step of the episodes."""
    last = [np.arange(len(episode)) == len(episode) - 1 for episode in episodes]
    return TransitionBatch(
        np.concatenate([episode.observations[:-1] for episode in episodes]),
        np.concatenate([episode.actions for episode in episodes]),
        np.concatenate([episode.observations[1:] for episode in episodes]),
        np.concatenate([episode.rewards for episode in episodes]),
        np.concatenate([episode.terminations for episode in episodes]),
        np.concatenate([end & episode.truncated for end, episode in zip(last, episodes, strict=True)]),
    )


@torch.no_grad()
def roll_out(dynamics: OneDTransitionRewardModel, held_out: HeldOut, together: bool) -> Predicted:
    """The elite's mean prediction under the recorded actions.

    Args:
        dynamics: trained.
        held_out: N windows.
        together: all go on from their common mean at every step (mbrl-lib's "expectation"); else each follows its
            own trajectory, as in PETS' TS-infinity but without noise, and the mean is what is shown.
    """
    ensemble, normalizer = dynamics.model, dynamics.input_normalizer
    elite = list(ensemble.elite_models)
    state = torch.as_tensor(held_out.known[:, -1]).float().expand(MEMBERS, -1, -1)
    actions = torch.as_tensor(held_out.future_actions).float()
    states, rewards = [], []
    for step in range(held_out.horizon):
        given = torch.cat([state, actions[:, step].expand(MEMBERS, -1, -1)], dim=-1)
        change, _ = ensemble(normalizer.normalize(given).float(), use_propagation=False)
        state = state + change[..., :-1]
        states.append(state[elite].mean(0))
        rewards.append(change[elite][..., -1].mean(0))
        if together:
            state = states[-1].expand(MEMBERS, -1, -1)
    return Predicted(torch.stack(states, 1).numpy(), torch.stack(rewards, 1).numpy())


def validation_error(predicted: Predicted, held_out: HeldOut, scale: Scale) -> float:
    """Mean over the first horizons of the nRMSE over the windows that still run."""
    squares, _ = normalised_squares(predicted.states, held_out, scale)
    total = (squares.mean(axis=-1) * held_out.running).sum(axis=0) / held_out.running.sum(axis=0)
    return float(np.sqrt(total[:SELECTION_STEPS]).mean())


def show(fit: Fit, errors: dict[str, float], chosen: str) -> None:
    """What was fitted, and which way of propagating was chosen."""
    print(f"\n{fit.epochs} epochs, {fit.updates} updates; processor {fit.cpu_seconds:g} s, wall {fit.wall_seconds:g} s")
    print("nRMSE on validation windows, mean over the horizons up to 100")
    for name, error in errors.items():
        print(f"  {name:<14}{shown(error):>10}{'   chosen' if name == chosen else ''}")
    print()


if __name__ == "__main__":
    run_program(main, Settings)
