# make demo and make test set up all that they need and may be the first thing that is typed after a clone.

PYTHON ?= python3
DATA ?= ../shared/data

.PHONY: help demo install test check bench bench-delivery bench-trainer bench-swap bench-journal bench-footprints bench-tiles model bundle folds comparison myriad-runtime asyncapi lock clean test-long

help:
	@echo "make demo      a rendered flight, classified and watched on this machine"
	@echo "make test      all tests that take seconds"
	@echo "make test-long the tests that take minutes"
	@echo "make check     lint and types"
	@echo "make install   .venv with everything for development"
	@echo "make bench     the figures of the README, with DATA=$(DATA)"
	@echo "make bench-delivery  how fast alerts leave the journal after an outage"
	@echo "make bench-swap  what a change of the model and the loss of an engine cost, with DATA=$(DATA)"
	@echo "make bench-journal  what the journal writes to the disk"
	@echo "make bench-footprints  how well footprints put the same ground of two photos, with DATA=$(DATA)"
	@echo "make bench-tiles  how fast a large photo becomes classified, placed tiles, with DATA=$(DATA)"
	@echo "make bench-trainer  what the trainer promises, with DATA=$(DATA)"
	@echo "make model     the shipped bundle anew from DATA=$(DATA), in about an hour"
	@echo "make folds     what the network gets where it has not been (two hours)"
	@echo "make comparison  TensorFlow, LiteRT, ONNX Runtime and OpenVINO on the same network (half an hour)"
	@echo "make myriad-runtime  .venv-myriad with an old OpenVINO, which drives Movidius sticks"
	@echo "make asyncapi  the schemas in docs/asyncapi.yaml from the messages of the program"
	@echo "make lock      resolve requirements/*.txt anew"

demo: .venv-demo/.installed
	@.venv-demo/bin/python -m edge demo

install: .venv/.installed

test: .venv/.installed
	@tools/system-packages mosquitto gcc libc6-dev gpsd gpsd-clients
	.venv/bin/python -m pytest

test-long: .venv/.installed
	@tools/system-packages mosquitto gcc libc6-dev gpsd gpsd-clients
	.venv/bin/python -m pytest -m long

check: .venv/.installed
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy

bench: .venv/.installed
	@tools/system-packages mosquitto
	.venv/bin/python -m bench.edge --data $(DATA)

bench-delivery: .venv/.installed
	@tools/system-packages mosquitto
	.venv/bin/python -m bench.delivery

bench-swap: .venv/.installed
	@tools/system-packages mosquitto
	.venv/bin/python -m bench.swap --data $(DATA)

bench-journal: .venv/.installed
	.venv/bin/python -m bench.journal

bench-footprints: .venv/.installed
	.venv/bin/python -m bench.footprints --data $(DATA)

bench-tiles: .venv/.installed
	.venv/bin/python -m bench.tiles --data $(DATA)

bench-trainer: .venv/.installed
	.venv/bin/python -m bench.trainer --data $(DATA)

TRAIN = .venv/bin/overflight-train
HARVEY = --data harvey:$(DATA)/harvey

# From the data to the bundle that ships with the package, in about an hour. Interrupted, it goes on.
model: .venv/.installed
	$(TRAIN) fit $(HARVEY) --data 'haiti*12:$(DATA)/haiti' --data rendered:480 --split given \
		--augmentation light,haiti=strong --epochs 80 --batch 32 --learning-rate 0.002 --out runs/terrain-damage
	$(TRAIN) export runs/terrain-damage --out runs/terrain-damage-export
	$(TRAIN) evaluate runs/terrain-damage-export --no-pictures --out docs/evaluation
	$(MAKE) bundle

# Signs with the private key in keys/, which is made once and belongs into no repository; its public half comes with the package.
bundle: keys/overflight.key
	$(TRAIN) pack runs/terrain-damage-export --name terrain-damage --version 4 --ground-sample-distance-m 0.465 \
		--key keys/overflight.key \
		--out edge/bundle/terrain-damage
	install -D -m 644 keys/overflight.pub edge/bundle/trusted/overflight.pub

keys/overflight.key: | .venv/.installed
	$(TRAIN) keygen --out keys

# What the same network gets where it has not been: whole blocks of Houston, and Haiti, five folds each; and how sure it is of
# the one who learned from the other. Takes two hours.
folds: .venv/.installed
	$(TRAIN) fit $(HARVEY) --split place --cross-validate --augmentation light --epochs 24 --batch 32 --learning-rate 0.002 \
		--out runs/harvey-by-place
	$(TRAIN) export runs/harvey-by-place --out runs/harvey-by-place-export
	$(TRAIN) evaluate runs/harvey-by-place-export --no-pictures --out docs/evaluation-by-place
	$(TRAIN) fit --data 'haiti*4:$(DATA)/haiti' --split random --cross-validate --augmentation strong --epochs 60 --batch 16 \
		--learning-rate 0.0015 --out runs/haiti-folds
	$(TRAIN) export runs/haiti-folds --out runs/haiti-folds-export
	$(TRAIN) evaluate runs/haiti-folds-export --no-pictures --out docs/evaluation-haiti
	$(TRAIN) evaluate runs/harvey-by-place-export/fold-1 --data haiti:$(DATA)/haiti --all --no-pictures --out docs/evaluation-harvey-to-haiti
	$(TRAIN) evaluate runs/haiti-folds-export/fold-1 --data harvey:$(DATA)/harvey --all --no-pictures --out docs/evaluation-haiti-to-harvey

# The shipped network in every runtime; then the network of 2020, trained on the same data, beside it.
comparison: .venv/.installed
	@test -f runs/terrain-damage-export/export.json || { echo "no runs/terrain-damage-export: make model first" >&2; exit 2; }
	$(TRAIN) compare runs/terrain-damage-export $(HARVEY) --split given --out docs/comparison
	$(TRAIN) fit $(HARVEY) --data 'haiti*12:$(DATA)/haiti' --split given --network seed-cnn --optimizer adam \
		--learning-rate 0.0008 --average 0 --label-smoothing 0 --augmentation turns --epochs 10 --batch 32 --out runs/seed-cnn
	$(TRAIN) export runs/seed-cnn --out runs/seed-cnn-export
	$(TRAIN) compare runs/seed-cnn-export runs/terrain-damage-export --curve-runs 0 $(HARVEY) --split given \
		--base 'seed-cnn-export openvino-fp32' --out docs/comparison-with-2020

myriad-runtime: .venv-myriad/.installed

asyncapi: .venv/.installed
	.venv/bin/python -m tools.asyncapi

# Not by way of the whole environment: that would be made anew from the old lock first.
lock:
	@test -x .venv/bin/uv || $(MAKE) install
	for set in device demo development; do \
		extra=$$([ $$set = device ] || echo --extra $$set); \
		.venv/bin/uv pip compile -q pyproject.toml $$extra --universal --generate-hashes --no-header --no-emit-index-url \
			-o requirements/$$set.txt || exit 1; \
	done
	echo openvino==2021.4.2 | .venv/bin/uv pip compile -q - --python-version 3.7 --universal --generate-hashes --no-header \
		--no-annotate --no-emit-index-url -o requirements/myriad.txt

# What the demo runs and nothing else.
.venv-demo/.installed: requirements/demo.txt tools/virtual-environment
	tools/virtual-environment $(PYTHON) .venv-demo requirements/demo.txt
	@touch $@

.venv/.installed: requirements/development.txt pyproject.toml tools/virtual-environment
	tools/virtual-environment $(PYTHON) .venv requirements/development.txt
	.venv/bin/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

.venv-myriad/.installed: requirements/myriad.txt tools/myriad-runtime
	tools/myriad-runtime .venv-myriad
	@touch $@

clean:
	rm -rf .venv .venv-demo .venv-myriad .mypy_cache .pytest_cache .ruff_cache build dist
