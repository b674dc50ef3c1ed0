"""How much a real robot's next observation surprises its world model, and how much surprise is too much.

Three detectors look at every step; each score is divided by the largest that unbroken episodes gave it:

* ``jump``: the largest error of the one-step prediction among the observed numbers, in usual errors, forgiven where the
  ensemble disagrees with itself: a reading or a state that leaps.
* ``drift``: for every number, a cumulative sum (CUSUM; Page 1954, "Continuous inspection schemes") of the logarithm of
  that error above its usual size: a payload, a weak motor, a noisy sensor.
* ``support``: how far observation and action lie out in the recorded data: a state that nobody has seen.

The score of a step is the largest of the three. Its threshold is conformal over episodes (Vovk et al. 2005): where a
new episode is exchangeable with the n that calibrate, its largest score is above the k-th smallest of theirs,
k = ceil((n + 1)(1 - rate)), with a probability of at most ``rate``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from wm_gym.errors import ConfigError, DataError, ModelError
from wm_gym.files import read_json, write_json
from wm_gym.models import TrainedModel
from wm_gym.types import Episode, FloatArray, Observation

DETECTORS = ("jump", "drift", "support")
NOT_FINITE = "not finite"
"""The reason of an alarm that needs no detector."""
SCHEMA_VERSION = 1
_FORGIVEN = 0.1  # where all members agree, an error counts 1 / sqrt(0.1) times what it does at their usual spread
_ALLOWANCE = 0.5  # of the cumulative sums, in standard deviations
_LEAST_ERROR = 1e-3  # usual error, in deviations of the data, below which no number is held to more
_LEAST_SPREAD = 0.1  # of the logarithm, likewise


@dataclass(frozen=True)
class Judged:
    """What the detectors say of T observations."""

    scores: FloatArray
    """(T, 3) of each detector, in units of what unbroken episodes showed; infinite where a reading is no number."""
    dimension: Any
    """(T,) int: the observed number most at fault."""
    drift: FloatArray
    """(S,) the cumulative sums after the last of them."""

    @property
    def score(self) -> FloatArray:
        """(T,) the largest of the three."""
        return np.asarray(self.scores.max(axis=1))

    def reason(self, step: int) -> str:
        """The detector with the largest score."""
        row = self.scores[step]
        return NOT_FINITE if np.isinf(row).all() else DETECTORS[int(row.argmax())]


@dataclass(frozen=True)
class GateCalibration:
    """A model's usual errors on one robot under one policy, and the score that its episodes rarely reach."""

    model: str | None
    """Sha256 of the model's weights; None for a model that was never saved."""
    error: tuple[float, ...]
    """(S,) root mean square of the one-step error, raw units."""
    log_mean: tuple[float, ...]
    """(S,) mean of log(1 + |error| / usual error)."""
    log_std: tuple[float, ...]
    """(S,) its standard deviation."""
    spread: float
    """Root mean square of how far the members disagree about one step."""
    largest: tuple[float, ...]
    """(3,) of each detector, over the episodes that the figures above come from."""
    threshold: float
    """A larger score is an alarm."""
    false_stop_rate: float
    """At most this share of unbroken episodes is stopped."""
    episodes: int
    """Episodes that the threshold comes from."""
    steps: int
    """The longest of them: a longer episode has more chances to be stopped."""

    @classmethod
    def measure(
        cls, trained: TrainedModel, episodes: Sequence[Episode], false_stop_rate: float = 0.05
    ) -> GateCalibration:
        """Calibrate on recorded episodes of the unbroken robot.

        Args:
            trained: a state model; it should not have learnt from these episodes.
            episodes: by the policy and of the length that the gate will meet. Every third gives the usual errors, the
                others the threshold.
            false_stop_rate: in (0, 1), for a whole episode.

        Raises:
            ConfigError: the rate is none, or asks for more episodes.
            DataError: an episode holds a value that is not finite.
            ModelError: the model looks through cameras, or needs several observations to begin.
        """
        check_model(trained)
        if not 0 < false_stop_rate < 1:
            raise ConfigError(f"false_stop_rate={false_stop_rate!r}: a share of episodes between 0 and 1 is needed")
        usual, held_out = episodes[::3], [episode for number, episode in enumerate(episodes) if number % 3]
        place = math.ceil((len(held_out) + 1) * (1 - false_stop_rate) - 1e-9)
        if place > len(held_out) or not usual:
            needed = math.ceil(1.5 * (math.ceil(1 / false_stop_rate - 1e-9) - 1)) + 1
            raise ConfigError(
                f"{len(episodes)} episodes cannot tell a false_stop_rate of {false_stop_rate:g}: record about "
                f"{needed}, or allow more"
            )
        for number, episode in enumerate(episodes):
            if not (np.isfinite(episode.observations).all() and np.isfinite(episode.actions).all()):
                raise DataError(f"calibration episode {number} holds a value that is not finite; leave it out")
        draft = _usual_errors(trained, usual, false_stop_rate)
        worst = [draft.judge(trained, e.observations, e.actions).scores.max(0) for e in usual]
        draft = replace(draft, largest=tuple(np.maximum(np.max(worst, axis=0), 1e-9).tolist()))
        scores = sorted(float(draft.judge(trained, e.observations, e.actions).score.max()) for e in held_out)
        steps = max(len(episode) for episode in held_out)
        return replace(draft, threshold=scores[place - 1], episodes=len(held_out), steps=steps)

    def judge(
        self, trained: TrainedModel, observations: FloatArray, actions: FloatArray, drift: FloatArray | None = None
    ) -> Judged:
        """Score consecutive observations.

        Args:
            trained: the model that was calibrated.
            observations: (T+1, S) as they were shown.
            actions: (T, A) between them, within the action space.
            drift: (S,) cumulative sums to go on from; None at the beginning of an episode, when the first observation
                is scored too.

        Returns:
            Scores of the T+1 observations, or of the last T where ``drift`` was given.
        """
        shown = np.asarray(observations, dtype=np.float32)
        known = np.isfinite(shown)
        finite = np.where(known, shown, trained.model.normalizer.mean.cpu().numpy())
        error, spread = one_step_errors(trained, finite, actions)
        scaled = np.abs(error) / self.error
        jump = scaled / np.sqrt(_FORGIVEN + (spread[:, None] / self.spread) ** 2)
        rise = (np.log1p(scaled) - self.log_mean) / self.log_std - _ALLOWANCE
        sums = np.zeros((len(rise) + 1, shown.shape[1]))
        if drift is not None:
            sums[0] = drift
        for step, row in enumerate(rise):
            sums[step + 1] = np.maximum(0.0, sums[step] + row)
        distance, outward = _outside(trained, finite, actions)
        jump = np.concatenate([np.zeros((1, shown.shape[1])), jump])
        parts = np.stack([jump.max(1), sums.max(1), distance], axis=1) / self.largest
        dimension = np.stack([jump.argmax(1), sums.argmax(1), outward], axis=1)
        dimension = np.take_along_axis(dimension, parts.argmax(1)[:, None], axis=1)[:, 0]
        parts = np.nan_to_num(parts, nan=np.inf, posinf=np.inf)  # beyond any number that the model can work with
        broken = ~known.all(1)
        parts[broken], dimension[broken] = np.inf, (~known[broken]).argmax(1)
        first = 0 if drift is None else 1
        return Judged(parts[first:], dimension[first:], sums[-1])

    def save(self, path: str | Path) -> None:
        """Write plain JSON, whole or not at all."""
        write_json(Path(path), {"schema_version": SCHEMA_VERSION, **asdict(self)})

    @classmethod
    def load(cls, path: str | Path) -> GateCalibration:
        """Read what :meth:`save` wrote.

        Raises:
            ModelError: it is missing, damaged or of another version.
        """
        values = read_json(Path(path), ModelError)
        if values.pop("schema_version", None) != SCHEMA_VERSION:
            raise ModelError(f"{path}: is no calibration of schema {SCHEMA_VERSION}; calibrate the gate again")
        try:
            plain: dict[str, Any] = {n: tuple(map(float, v)) if isinstance(v, list) else v for n, v in values.items()}
            found = cls(**plain)
            sizes = {len(found.error), len(found.log_mean), len(found.log_std)}
            scales = (*found.error, *found.log_std, *found.largest, found.spread, found.threshold)
            whole = len(sizes) == 1 and len(found.largest) == len(DETECTORS) and all(scale > 0 for scale in scales)
        except (TypeError, ValueError) as error:
            raise ModelError(f"{path}: damaged ({error}); calibrate the gate again") from error
        if not whole:
            raise ModelError(f"{path}: damaged: sizes differ, or a scale is not positive; calibrate the gate again")
        return found


def check_model(trained: TrainedModel) -> None:
    """Refuse a model whose next observation is not predicted from the last one alone."""
    if trained.model.cameras:
        raise ModelError(f"a model of family {trained.model.family!r} looks through cameras: a gate watches states")
    if trained.model.context:
        raise ModelError(f"a model that needs {trained.model.context} steps of context: a gate watches single steps")


def weights_hash(trained: TrainedModel) -> str | None:
    """Sha256 of a model's weights; None for a model that was never saved."""
    found = dict(trained.manifest.get("files", {})).get("model.safetensors")
    return None if found is None else str(found)


@torch.no_grad()
def one_step_errors(
    trained: TrainedModel, observations: FloatArray, actions: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """What was shown minus the mean prediction (T, S), and how far the members disagree (T,) in data deviations."""
    model, device = trained.model, trained.model.normalizer.mean.device
    shown = torch.as_tensor(np.asarray(observations, dtype=np.float32), device=device)
    taken = torch.as_tensor(np.asarray(actions, dtype=np.float32), device=device)
    if not len(taken):
        return np.zeros((0, shown.shape[1])), np.zeros(0)
    latent = model.observe(None, None, model.encode(Observation(shown[:-1])))
    said = model.predict(model.imagine(latent, taken))
    assert said.state is not None, "a state model decodes the state"
    return (shown[1:] - said.state).double().cpu().numpy(), said.spread.double().cpu().numpy()


def _usual_errors(trained: TrainedModel, episodes: Sequence[Episode], rate: float) -> GateCalibration:
    """Everything but the units of the scores and their threshold."""
    pairs = [one_step_errors(trained, episode.observations, episode.actions) for episode in episodes]
    errors, spreads = (np.concatenate(column) for column in zip(*pairs, strict=True))
    least = _LEAST_ERROR * trained.model.normalizer.std.double().cpu().numpy()
    usual = np.maximum(np.sqrt(np.mean(errors**2, axis=0)), least)
    logs = np.log1p(np.abs(errors) / usual)
    return GateCalibration(
        model=weights_hash(trained),
        error=tuple(usual.tolist()),
        log_mean=tuple(logs.mean(0).tolist()),
        log_std=tuple(np.maximum(logs.std(0), _LEAST_SPREAD).tolist()),
        spread=max(float(np.sqrt(np.mean(spreads**2))), 1e-9),
        largest=(1.0, 1.0, 1.0),
        threshold=math.inf,
        false_stop_rate=rate,
        episodes=0,
        steps=0,
    )


@torch.no_grad()
def _outside(trained: TrainedModel, observations: FloatArray, actions: FloatArray) -> tuple[FloatArray, Any]:
    """How far (T+1,) each observation and the action that led to it lie out, 1 at the edge; the number farthest out."""
    support = trained.support
    states = torch.as_tensor(observations, dtype=torch.float32, device=support.mean.device)
    neutral = support.mean[states.shape[1] :]  # no action led to the first observation
    led = torch.cat([neutral[None], torch.as_tensor(np.asarray(actions, dtype=np.float32)).to(neutral)])
    led = led[-len(states) :] if len(actions) else neutral.expand(len(states), -1)
    pair = torch.cat([states, led], -1)
    within = ((support.high - support.low) / 2).clamp(min=1e-6)
    box = (pair - (support.low + support.high) / 2).abs() / within
    whitened = ((pair - support.mean) @ support.whitening).square().sum(-1).sqrt() / support.radius
    farthest = torch.maximum(box.amax(-1), whitened)
    return farthest.double().cpu().numpy(), box[:, : states.shape[1]].argmax(-1).cpu().numpy()
