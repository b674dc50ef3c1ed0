# make demo, make test: on a machine with Python 3.11, make and pip nothing else is needed first, and no GPU.

PYTHON = $(shell for p in python3.11 python3 python3.12 python3.13; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
INSTALLED = .venv/.installed
RUN = .venv/bin/python

DEMO = outputs/demo
# The policy trained in MuJoCo that the report compares with: committed (its stored returns), run (train it now), none.
control ?= committed
REPORT = $(DEMO)/report$(if $(filter-out committed,$(control)),_control_$(control))

.PHONY: help demo demo-camera demo-logs plan plan-camera test test-slow check clean
.NOTPARALLEL:

help:
	@echo "make demo       record a robot arm, learn it, train in imagination, compare with MuJoCo: about 10 minutes"
	@echo "                (control=run also trains the policy in MuJoCo that the report compares with)"
	@echo "make demo-camera  the same from pixels alone, ending in a film: about 6 minutes"
	@echo "make demo-logs  from a robot's logs alone: train in imagination and in MuJoCo, judge on the robot: about 6 minutes"
	@echo "make test       the tests: about 8 minutes"
	@echo "make test-slow  the tests that learn something"
	@echo "make check      format, lint and types"
	@echo "make clean      remove .venv, caches and build products; outputs/ stays"

# --- set-up: once, and again when the dependencies change ---

$(INSTALLED): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "error: Python 3.11 or newer is needed (looked for python3.11, python3)" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { \
		echo "error: $(PYTHON) cannot make virtual environments; on Debian or Ubuntu: apt install $$( \
		$(PYTHON) -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')" >&2; exit 1; }
	@echo "Installing into .venv with $(PYTHON): a few minutes, once."
	@$(RUN) -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear .venv
	@$(RUN) -m pip install --quiet -c constraints.txt setuptools torch
	@$(RUN) -m pip install --quiet -c constraints.txt --no-build-isolation -e ".[test,check]"
	@touch $@

# --- the main job, end to end: each step is skipped once it is complete, and goes on where it was interrupted ---

demo: $(INSTALLED)
	@test -f $(REPORT)/report.html || $(MAKE) --no-print-directory plan $(REPORT)/report.html
	@echo; echo "The demo is complete: open $(REPORT)/report.html (delete $(DEMO)/ to run it again)"

plan:
	@echo "The main job on Reacher, the two-joint robot arm. About 10 minutes on two cores, without a GPU:"
	@echo "  1. record 20,000 steps in MuJoCo, with its camera             1 minute"
	@echo "  2. fit a world model to them                                  7 minutes"
	@echo "  3. train PPO in the world model alone, then try it in MuJoCo  2 minutes"
	@echo "  4. compare the world model and the policy with MuJoCo         1 minute$(if \
		$(filter run,$(control)), and 6 for SAC in MuJoCo)"
	@echo "Interrupted, the same command goes on. Everything is written to $(DEMO)/."

$(DEMO)/data/result.json:
	@echo; echo "1/4 record"
	@# Nothing trained acts here: what the demo's policy knows, it knows from these steps alone.
	@$(RUN) datasets/collect_episodes.py task=reacher num_steps=20000 behaviours.random=0.5 behaviours.smooth=0.5 \
		output=$(DEMO)/data

$(DEMO)/model/result.json: | $(DEMO)/data/result.json
	@echo; echo "2/4 fit"
	@$(RUN) -m wm_gym.train dataset=$(DEMO)/data output=$(DEMO)/model

$(DEMO)/agent/result.json: | $(DEMO)/model/result.json
	@echo; echo "3/4 train in imagination"
	@$(RUN) agents/train_agent.py model=$(DEMO)/model algorithm=ppo seed=0 output=$(DEMO)/agent

$(REPORT)/report.html: | $(DEMO)/agent/result.json
	@echo; echo "4/4 compare with MuJoCo"
	@$(RUN) benchmarks/compare_physics.py model=$(DEMO)/model agent=$(DEMO)/agent dataset=$(DEMO)/data \
		output=$(REPORT) control=$(control)

# --- the same from pixels alone: the shipped camera model is acted in, tried in MuJoCo from the camera, and filmed ---

CAMERA = outputs/demo_camera
# Who acted in the recording that the shipped model was fitted to. Episodes are longer than what is shown and imagined.
FILMED = task=reacher task.max_episode_steps=100 \
	'behaviours={random:0.25,smooth:0.25,half_trained:0.25,noisy_half_trained:0.25}'

demo-camera: $(INSTALLED)
	@test -f $(CAMERA)/video/result.json || $(MAKE) --no-print-directory plan-camera $(CAMERA)/video/result.json
	@echo; echo "The demo is complete: watch $(CAMERA)/video/film.mp4 (physics, imagination, difference)"

plan-camera:
	@echo "From 64 x 64 pixels alone, on Reacher, with the shipped model reacher_camera, without a GPU:"
	@echo "  1. record 15,000 steps in MuJoCo with its camera, to judge by   1 minute"
	@echo "  2. train PPO in latent imagination, then try it in MuJoCo       3 minutes"
	@echo "  3. film the imagination beside the physics, and measure         2 minutes"
	@echo "Interrupted, the same command goes on. Everything is written to $(CAMERA)/."

$(CAMERA)/shown/result.json:
	@echo; echo "1/3 record"
	@$(RUN) datasets/collect_episodes.py $(FILMED) num_steps=10000 seed=1 output=$(CAMERA)/shown

$(CAMERA)/held_out/result.json: | $(CAMERA)/shown/result.json
	@$(RUN) datasets/collect_episodes.py $(FILMED) num_steps=5000 seed=1000 output=$(CAMERA)/held_out

$(CAMERA)/agent/result.json: | $(CAMERA)/held_out/result.json
	@echo; echo "2/3 train in latent imagination"
	@$(RUN) agents/train_camera_agent.py model=reacher_camera seed=0 output=$(CAMERA)/agent

$(CAMERA)/video/result.json: | $(CAMERA)/agent/result.json
	@echo; echo "3/3 film"
	@$(RUN) benchmarks/measure_video.py model=reacher_camera train=$(CAMERA)/shown dataset=$(CAMERA)/held_out \
		output=$(CAMERA)/video

# --- from logs alone: a robot with secrets, and the same agent trained in five worlds, in small ---

LOGS = outputs/demo_logs
# One training seed: the chart shows the way, the README's table the figures.
LOGS_SETTINGS = task=inverted_double_pendulum minutes=10 limit=300 seeds=[0] steps=200000 \
	policies.half_trained=datasets/behaviours/inverted_double_pendulum/half_trained \
	'behaviours={random:0.25,smooth:0.25,noisy_half_trained:0.5}' longest_horizon=1 updates=12000 batch_size=640

demo-logs: $(INSTALLED)
	@$(RUN) benchmarks/compare_simulators.py $(LOGS_SETTINGS) output=$(LOGS)
	@echo; echo "The demo is complete: open $(LOGS)/returns.svg (delete $(LOGS)/ to run it again)"

# --- tests ---

# One torch thread a worker: two that share two cores are several times slower. A file's tests share what they make.
test: $(INSTALLED)
	@OMP_NUM_THREADS=1 $(RUN) -m pytest -n auto --dist loadfile

test-slow: $(INSTALLED)
	@$(RUN) -m pytest -m slow

check: $(INSTALLED)
	@$(RUN) -m ruff format --check .
	@$(RUN) -m ruff check .
	@$(RUN) -m mypy

clean:
	rm -rf .venv build dist *.egg-info .pytest_cache .ruff_cache .mypy_cache
	find . -name __pycache__ -prune -exec rm -rf {} +
