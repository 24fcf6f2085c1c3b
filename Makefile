# make demo and make test set up all that they need and may be the first thing that is typed after a clone.

PYTHON ?= python3
DATA ?= ../shared/data

.PHONY: help demo install test check bench lock clean

help:
	@echo "make demo      a rendered flight, classified and watched on this machine"
	@echo "make test      all tests"
	@echo "make check     lint and types"
	@echo "make install   .venv with everything for development"
	@echo "make bench     the figures of the README, with DATA=$(DATA)"
	@echo "make lock      resolve requirements/*.txt anew"

demo: .venv-demo/.installed
	@.venv-demo/bin/python -m edge demo

install: .venv/.installed

test: .venv/.installed
	@tools/system-packages mosquitto
	.venv/bin/python -m pytest

check: .venv/.installed
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy

bench: .venv/.installed
	@tools/system-packages mosquitto
	.venv/bin/python -m bench.edge --data $(DATA)

# Not by way of the whole environment: that would be made anew from the old lock first.
lock:
	@test -x .venv/bin/uv || $(MAKE) install
	for set in device demo development; do \
		extra=$$([ $$set = device ] || echo --extra $$set); \
		.venv/bin/uv pip compile -q pyproject.toml $$extra --universal --generate-hashes --no-header --no-emit-index-url \
			-o requirements/$$set.txt || exit 1; \
	done

# What the demo runs and nothing else.
.venv-demo/.installed: requirements/demo.txt tools/virtual-environment
	tools/virtual-environment $(PYTHON) .venv-demo requirements/demo.txt
	@touch $@

.venv/.installed: requirements/development.txt pyproject.toml tools/virtual-environment
	tools/virtual-environment $(PYTHON) .venv requirements/development.txt
	.venv/bin/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

clean:
	rm -rf .venv .venv-demo .mypy_cache .pytest_cache .ruff_cache build dist
