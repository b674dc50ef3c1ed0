"""Fitting a world model: one loop, chosen on rollout error, resumable to the bit.

One-step loss cannot choose a model (two models equal at one step differ fourfold at a hundred), so the weights that are
kept are those whose open-loop error over ``selection_horizon`` steps of the validation episodes was lowest.
"""

from __future__ import annotations

import copy
import math
import time
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from wm_gym.errors import ModelError
from wm_gym.models.checkpoint import read_tensors, write_tensors
from wm_gym.models.open_loop import rollout_error
from wm_gym.models.world_model import Trainable
from wm_gym.types import Segment


@dataclass(frozen=True)
class FitConfig:
    """How long and how carefully to train."""

    updates: int = 12_000
    batch_size: int = 320
    """Windows per update, dealt out over the members."""
    horizons: tuple[int, ...] = (1, 2, 4, 8, 16)
    """Imagined steps per window, one stage of the training each."""
    learning_rate: float = 2e-3
    final_learning_rate: float = 1e-5
    weight_decay: float = 1e-5
    clip: float = 1.0
    ema: float = 0.998
    evaluate_every: int = 600
    selection_horizon: int = 50
    """Steps of the open-loop error that chooses the weights."""

    def horizon(self, update: int) -> int:
        """Imagined steps at this update: half of the arithmetic climbs, each stage costing the same; half stays on top.

        An update of one step costs a tenth of one of sixteen, and is what makes the first steps exact (docs/log.md).
        """
        return self.horizons[self._stage(update)[0]]

    def rate(self, update: int) -> float:
        """Learning rate: a short warm-up, then a cosine over the *arithmetic* to the final one.

        Over the updates, nearly all of which are of one step, it would have fallen before the long ones begin.
        """
        stage, done = self._stage(update)
        top = len(self.horizons) - 1
        spent = (1 + done) / 2 if stage == top and top else (stage + done) / (2 * top) if top else done
        warm_up = min(1.0, (update + 1) / 100)
        fall = 0.5 * (1 + math.cos(math.pi * spent))
        return warm_up * (self.final_learning_rate + fall * (self.learning_rate - self.final_learning_rate))

    def _stage(self, update: int) -> tuple[int, float]:
        """The stage of an update, and the share of that stage that is behind it."""
        shares = [1 / max(1, horizon) for horizon in self.horizons]
        shares[-1] *= max(1, len(shares) - 1)
        ends = list(accumulate(shares))
        place = update / self.updates * ends[-1]
        stage = min(bisect_right(ends, place), len(ends) - 1)
        return stage, 1 - (ends[stage] - place) / shares[stage]


class WindowSource(Protocol):
    """What supplies training windows."""

    def sample(self, batch_size: int, generator: torch.Generator) -> Segment:
        """Draw a batch of windows."""


@dataclass(frozen=True)
class FitProgress:
    """What is known after an evaluation."""

    update: int
    error: float
    """Open-loop nRMSE on the validation episodes, mean over the selection horizon."""
    best_error: float
    best_update: int
    seconds: float
    """Of training, those before an interruption included."""
    cpu_seconds: float = 0.0
    """Of the processor likewise, all threads together: what to compare where the machine is shared."""
    parts: dict[str, float] = field(default_factory=dict)


def fit(
    model: Trainable,
    windows: WindowSource,
    validation: Segment,
    config: FitConfig,
    seed: int,
    checkpoint: Path | None = None,
    on_update: Callable[[int], None] = lambda update: None,
    on_evaluation: Callable[[FitProgress], None] = lambda progress: None,
    measure_error: Callable[[Any, Segment], Tensor] = rollout_error,
) -> FitProgress:
    """Train ``model`` in place; at the end it holds the averaged weights of the best evaluation.

    Args:
        model: its normalizer already fitted; what of it requires no gradient stays as it is.
        windows: training windows, at least as long as the last horizon.
        validation: windows of the validation episodes, as long as the selection horizon where episodes allow.
        config: see :class:`FitConfig`.
        seed: of the draws of windows.
        checkpoint: a safetensors file, written at each evaluation; where it exists training goes on from it and gives
            the same weights as without the interruption.
        on_update: told the number of finished updates.
        on_evaluation: told the progress after each evaluation.
        measure_error: of the model on ``validation``, by horizon; its mean chooses the weights.

    Raises:
        ModelError: the loss is no longer finite, or the checkpoint does not fit the model.
    """
    state = _Training(model, config, seed)
    if checkpoint is not None and checkpoint.exists():
        state.load(checkpoint)
        on_update(state.update)
    progress = state.progress(math.nan, {})
    while state.update < config.updates:
        parts = state.step(windows)
        on_update(state.update)
        if state.update % config.evaluate_every == 0 or state.update == config.updates:
            error = measure_error(state.average, validation).mean().item()
            state.judge(error)
            progress = state.progress(error, parts)
            on_evaluation(progress)
            if checkpoint is not None:
                state.save(checkpoint)
    model.load_state_dict(state.best)
    return progress


class _Training:
    """Everything that an exact resume must restore."""

    def __init__(self, model: Trainable, config: FitConfig, seed: int) -> None:
        self.model, self.config = model, config
        self.device = next(model.parameters()).device
        self.generator = torch.Generator().manual_seed(seed)
        self.learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self.average = copy.deepcopy(model).requires_grad_(False)
        self.best = {name: value.clone() for name, value in model.state_dict().items()}
        self.optimizer = torch.optim.AdamW(
            self.learning, lr=config.learning_rate, weight_decay=config.weight_decay, fused=True
        )
        self.update, self.best_update = 0, 0
        self.best_error = math.inf
        self.clocks, self.started = (0.0, 0.0), (time.perf_counter(), time.process_time())

    def step(self, windows: WindowSource) -> dict[str, float]:
        """One update: draw, roll out, descend, average."""
        config, horizon = self.config, self.config.horizon(self.update)
        segment = windows.sample(config.batch_size, self.generator)
        for group in self.optimizer.param_groups:
            group["lr"] = config.rate(self.update)
        loss = self.model.loss(segment, horizon)
        self.optimizer.zero_grad(set_to_none=True)
        loss.total.backward()  # type: ignore[no-untyped-call]
        norm = torch.nn.utils.clip_grad_norm_(self.learning, config.clip)
        if not torch.isfinite(norm):
            raise ModelError(
                f"the gradient is not finite at update {self.update}: lower learning_rate or look at the data's range"
            )
        self.optimizer.step()
        self.update += 1
        # Early on the average follows closely, so that the first evaluations mean something.
        decay = min(config.ema, self.update / (self.update + 10))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.average.parameters()), list(self.model.parameters()), 1 - decay)
        return {name: value.item() for name, value in loss.parts.items()}

    def judge(self, error: float) -> None:
        """Keep the averaged weights if they are the best so far."""
        if error < self.best_error:
            self.best_error, self.best_update = error, self.update
            self.best = {name: value.clone() for name, value in self.average.state_dict().items()}

    def progress(self, error: float, parts: dict[str, float]) -> FitProgress:
        return FitProgress(self.update, error, self.best_error, self.best_update, *self.seconds(), parts)

    def seconds(self) -> tuple[float, float]:
        """Of the wall and of the processor."""
        now = time.perf_counter(), time.process_time()
        wall, cpu = (e + n - s for e, n, s in zip(self.clocks, now, self.started, strict=True))
        return wall, cpu

    def save(self, path: Path) -> None:
        tensors = dict(self._named())
        tensors["generator"] = self.generator.get_state()
        tensors["counts"] = torch.tensor([self.update, self.best_update])
        tensors["figures"] = torch.tensor([self.best_error, *self.seconds()], dtype=torch.float64)
        write_tensors(path, tensors)

    def load(self, path: Path) -> None:
        tensors = read_tensors(path)
        for parameter in self.learning:
            self.optimizer.state[parameter] = {
                "step": torch.zeros((), device=self.device),
                "exp_avg": torch.zeros_like(parameter),
                "exp_avg_sq": torch.zeros_like(parameter),
            }
        for name, value in self._named():
            if name not in tensors or tensors[name].shape != value.shape:
                raise ModelError(f"{path}: {name!r} does not fit this model; delete the file to train from the start")
            with torch.no_grad():
                value.copy_(tensors[name])
        self.generator.set_state(tensors["generator"])
        self.update, self.best_update = (int(v) for v in tensors["counts"])
        self.best_error, *clocks = tensors["figures"].tolist()
        self.clocks = clocks[0], clocks[1]

    def _named(self) -> Iterator[tuple[str, Tensor]]:
        for name, value in self.model.state_dict().items():
            yield f"model.{name}", value
        for name, value in self.average.state_dict().items():
            yield f"average.{name}", value
        for name, value in self.best.items():
            yield f"best.{name}", value
        for index, parameter in enumerate(self.learning):
            for name, value in self.optimizer.state[parameter].items():
                yield f"optimizer.{index}.{name}", value
