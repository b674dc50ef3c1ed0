"""A camera model judged by what its pictures show: where the robot is in them, and what actions do to it.

Every figure stands beside the same figure of two guesses that know no dynamics: the last frame that was seen, held on
to, and the mean frame of the training data. Intervals are bootstrapped over episodes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from wm_gym.evaluation.picture_errors import moving_region, psnr, ssim
from wm_gym.evaluation.readout import ReadOut
from wm_gym.evaluation.statistics import LEVEL, resample_counts
from wm_gym.evaluation.video_windows import VideoWindows, draw_frames, imagine_steps, observe_context, watch
from wm_gym.models import WorldModel
from wm_gym.types import FloatArray, FrameArray

Physics = Callable[[FloatArray, FloatArray, FloatArray], FloatArray]
"""qpos (nq,), qvel (nv,) and actions (K, A) -> where the robot then is (D,)."""
_RESAMPLES = 1000
_AFTER_LOOK = 10  # steps imagined after the camera was uncovered


def judge_video(
    model: WorldModel, camera: str, windows: VideoWindows, readout: ReadOut, mean_frame: FrameArray, seed: int
) -> dict[str, Any]:
    """Position error, PSNR and SSIM by horizon, of the model and of both guesses; the gap when actions are shuffled.

    Args:
        model: a camera model on the CPU.
        camera: whose pictures are judged.
        windows: held-out video.
        readout: trained on true frames.
        mean_frame: (h, w, 3) of the training data.
        seed: of the bootstrap and of the shuffling.
    """
    rng = np.random.default_rng(seed)
    start = observe_context(model, camera, windows)
    acted = windows.actions[:, windows.context :]
    drawn = draw_frames(model, camera, imagine_steps(model, start, acted))
    shuffled = draw_frames(model, camera, imagine_steps(model, start, acted[_derangement(len(acted), rng)]))
    films = {
        "imagination": drawn,
        "shuffled actions": shuffled,
        "last frame": np.repeat(windows.frames[:, windows.context, None], windows.horizon, axis=1),
        "mean frame": np.broadcast_to(mean_frame, windows.truth.shape),
        "true frames": windows.truth,
    }
    errors = {name: position_error(readout, film, windows) for name, film in films.items()}
    regions = [moving_region(film[windows.context :]) for film in windows.frames]
    moving = [row for row, region in enumerate(regions) if region.any()]
    found: dict[str, Any] = {"windows": len(acted), "episodes": len(np.unique(windows.origins)), "by_horizon": {}}
    for horizon in [h for h in (1, 5, 10, 25, 50, 100) if h <= windows.horizon]:
        row: dict[str, Any] = {}
        for name, film in films.items():
            row[name] = {"position": median_interval(errors[name][:, horizon - 1], windows.origins, rng)}
            if name not in ("true frames", "shuffled actions"):
                compared = [
                    (film[i, horizon - 1][None], windows.truth[i, horizon - 1][None], regions[i]) for i in moving
                ]
                row[name]["psnr"] = _rounded(np.mean([psnr(*pair)[0] for pair in compared]))
                row[name]["ssim"] = _rounded(np.mean([ssim(*pair)[0] for pair in compared]))
        found["by_horizon"][str(horizon)] = row
    last = errors["shuffled actions"][:, -1] - errors["imagination"][:, -1]
    found["shuffled_action_gap"] = median_interval(last, windows.origins, rng)
    return found


def judge_effects(
    model: WorldModel,
    camera: str,
    windows: VideoWindows,
    readout: ReadOut,
    physics: Physics,
    bounds: tuple[FloatArray, FloatArray],
    steps: int,
) -> list[dict[str, float]]:
    """The effect of each action by itself, held for some steps, against the physics' from the same states.

    The effect is how much further the robot gets by half the action's range than by its opposite. ``ratio`` is 1 where
    imagined effects are as large as true ones, ``agreement`` the share of windows in which they point the same way.

    Args:
        model: a camera model.
        camera: whose pictures are read.
        windows: with the physical states.
        readout: trained on true frames.
        physics: where the robot is after some actions from a state.
        bounds: (A,) lowest and highest actions.
        steps: how long the action is held.
    """
    assert windows.qpos is not None and windows.qvel is not None
    start, (low, high) = observe_context(model, camera, windows), bounds
    judged = []
    for axis in range(len(low)):
        pushes = np.zeros((2, steps, len(low)), np.float32)
        middle, reach = (high[axis] + low[axis]) / 2, (high[axis] - low[axis]) / 4
        pushes[0, :, axis], pushes[1, :, axis] = middle + reach, middle - reach
        ends = []
        for push in pushes:
            acted = np.repeat(push[None], len(windows.actions), axis=0)
            ends.append(readout.places(draw_frames(model, camera, imagine_steps(model, start, acted)[-1:])[:, 0]))
        imagined = ends[0] - ends[1]
        truly = np.array(
            [
                physics(qpos, qvel, pushes[0]) - physics(qpos, qvel, pushes[1])
                for qpos, qvel in zip(windows.qpos, windows.qvel, strict=True)
            ]
        )
        dot = (imagined * truly).sum(-1)
        judged.append(
            {
                "axis": axis,
                "ratio": _rounded(dot.sum() / max(float((truly**2).sum()), 1e-12)),
                "agreement": _rounded(np.mean(dot > 0)),
                "true_size": _rounded(np.median(np.linalg.norm(truly, axis=-1))),
            }
        )
    return judged


def judge_permanence(
    model: WorldModel, camera: str, windows: VideoWindows, readout: ReadOut, hidden: int, seed: int
) -> dict[str, Any]:
    """Position errors around a time in which the camera is hidden: does the model know the robot again?

    Args:
        model: a camera model.
        camera: which is hidden.
        windows: at least ``hidden`` + 11 steps to imagine.
        readout: trained on true frames.
        hidden: steps without a frame; then one frame is seen, and ten steps are imagined.
        seed: of the bootstrap.

    Returns:
        Medians with intervals of the position error ``before_look`` (the last hidden step), ``after_look`` (ten steps
        after the frame), and ``never_hidden`` (at the same step, with every frame up to there seen).
    """
    rng, first = np.random.default_rng(seed), windows.context
    blind = seeing = observe_context(model, camera, windows)
    found = {}
    for step in range(first, first + hidden):
        blind = imagine_steps(model, blind, windows.actions[:, step : step + 1])[0]
        seeing = watch(model, camera, seeing, windows.actions[:, step], windows.frames[:, step + 1])
    look = first + hidden
    shown = {"before_look": (draw_frames(model, camera, [blind])[:, 0], look)}
    ahead = windows.actions[:, look + 1 : look + 1 + _AFTER_LOOK]
    for name, latent in (("after_look", blind), ("never_hidden", seeing)):
        known = watch(model, camera, latent, windows.actions[:, look], windows.frames[:, look + 1])
        last = imagine_steps(model, known, ahead)[-1:]
        shown[name] = (draw_frames(model, camera, last)[:, 0], look + 1 + _AFTER_LOOK)
    for name, (frames, row) in shown.items():
        missed = np.linalg.norm(readout.places(frames) - windows.places[:, row], axis=-1)
        found[name] = median_interval(missed, windows.origins, rng)
    return {"hidden_steps": hidden, **found}


def position_error(readout: ReadOut, film: FrameArray, windows: VideoWindows) -> FloatArray:
    """How far (N, H) the robot of a film (N, H, h, w, 3) stands from where it truly is."""
    truth = windows.places[:, windows.context + 1 :]
    return np.asarray(np.linalg.norm(readout.places(film) - truth, axis=-1))


def median_interval(values: FloatArray, origins: np.ndarray, rng: np.random.Generator) -> dict[str, float]:
    """The median of values (N,) with its 95 % interval, bootstrapped over the episodes that they come from (N,)."""
    _, group = np.unique(origins, return_inverse=True)
    members = [np.flatnonzero(group == number) for number in range(group.max() + 1)]
    counts = resample_counts(len(members), rng, _RESAMPLES).astype(int)
    drawn = [np.concatenate([np.tile(values[m], c) for m, c in zip(members, row, strict=True)]) for row in counts]
    tail = 50.0 * (1.0 - LEVEL)
    low, high = np.percentile([np.median(sample) for sample in drawn], [tail, 100.0 - tail])
    return {"value": _rounded(np.median(values)), "low": _rounded(low), "high": _rounded(high)}


def video_table(found: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    """The position errors by horizon as lines of text."""
    lines = [f"{'position error after steps':<30}" + "".join(f"{h:>10}" for h in found["by_horizon"])]
    for name in names:
        cells = [row[name]["position"]["value"] for row in found["by_horizon"].values()]
        lines.append(f"{name:<30}" + "".join(f"{cell:>10.2f}" for cell in cells))
    return lines


def _derangement(count: int, rng: np.random.Generator) -> np.ndarray:
    """An order in which no window keeps its own actions."""
    order = rng.permutation(count)
    shifted = np.empty(count, np.int64)
    shifted[order] = np.roll(order, 1)
    return shifted


def _rounded(value: Any) -> float:
    return float(f"{float(value):.6g}")
