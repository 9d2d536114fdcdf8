# One screen of everything: make help
SHELL := bash
.DEFAULT_GOAL := help
.PHONY: help setup demo test lint unit notebooks bench bench-peers bench-quality bench-speed proofs serve lock system clean
RUN := .venv/bin

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-14s %s\n", $$1, $$2}' Makefile

setup: .venv/.ready ## create .venv with the locked dependencies and the command uplift
.venv/.ready: requirements.lock pyproject.toml scripts/setup.sh
	@bash scripts/setup.sh

demo: setup ## the main job on a simulated chain, into demo/
	@$(RUN)/uplift demo --out demo

test: setup lint unit notebooks ## everything that this machine can check: lint, types, layers, tests, notebooks

lint: setup ## format, lint, types and the import contract
	$(RUN)/ruff format --check .
	$(RUN)/ruff check .
	$(RUN)/mypy
	$(RUN)/lint-imports

unit: setup ## the tests, in parallel
	bash scripts/tests.sh

notebooks: setup ## execute the notebooks and hold them to their paired text
	bash scripts/tests.sh notebooks

bench: setup ## the light benchmarks as ratios against floors, into benchmarks/out/
	$(RUN)/python -m benchmarks

bench-quality: setup bench-peers ## held-out gain and Qini beside other libraries (about half an hour)
	$(RUN)/python -m benchmarks quality

bench-speed: setup bench-peers ## seconds and memory at a million rows, as ratios with targets
	$(RUN)/python -m benchmarks speed

bench-peers: .venv-peers/.ready ## create .venv-peers with the other libraries, for the two above
.venv-peers/.ready: benchmarks/peers/requirements.lock benchmarks/peers/setup.sh .venv/.ready
	@bash benchmarks/peers/setup.sh

proofs: setup ## the long versions of the statistical proofs, and their table: docs/proofs.md
	bash scripts/tests.sh proofs

serve: setup ## MLflow's pages for this folder's runs (MLFLOW_PORT, default 5000)
	@bash mlflow/serve.sh

lock: setup ## make requirements.lock anew from the ranges in pyproject.toml
	@bash scripts/lock.sh

system: ## install the Debian packages that browser tests want (needs root)
	@bash scripts/system.sh

clean: ## remove what make made
	rm -rf .venv .venv-peers build demo proofs benchmarks/out .pytest_cache .mypy_cache .ruff_cache .hypothesis
