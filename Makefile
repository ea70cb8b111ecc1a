# Each target is a script of the same name in scripts/; `scripts/setup` first installs the Debian packages that lack.
.DEFAULT_GOAL := help
.PHONY: help setup build demo test smoke bench nightly mutants regress format lint clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## install the Debian packages that the build needs
	@scripts/setup build

build: setup ## all programs, debug
	@scripts/build

demo: ## build the simulator and run 300 nodes through ten minutes of trouble
	@scripts/setup sim
	@scripts/demo

test: ## unit tests, scenario regressions, lint
	@scripts/setup live lint
	@scripts/test

regress: ## the scenario regression set alone
	@scripts/setup sim
	@scripts/regress

smoke: ## our binaries against implementations that are not ours (root)
	@scripts/setup smoke
	@scripts/smoke

bench: ## benchmarks, as ratios in one run (root for the packet path)
	@scripts/setup bench
	@scripts/bench

mutants: ## switch on each planted bug and see what finds it
	@scripts/setup sim
	@scripts/mutants

nightly: ## all scenarios with several seeds, swarms, long fuzz runs; goes on when interrupted
	@scripts/setup live
	@scripts/nightly

format: ## put all Swift files in form
	@scripts/format

lint: ## what CI refuses
	@scripts/setup lint
	@scripts/lint

clean: ## remove what was built
	rm -rf .build artifacts
