# Each target does all the set-up that it needs: a virtual environment in .venv with the tested versions.
PYTHON ?= python3
RUN := .venv/bin/python
INSTALL := $(RUN) -m pip install -qq --disable-pip-version-check

.PHONY: setup run paper test test-ray quick check docs bench clean

setup: .venv/ready

run: .venv/runs
	$(RUN) -m neuroexp -m window=20,60 step=10,50

# Every table and figure, narrowed for two cores; take a setting away for more of the grid. A sweep that fails leaves its
# cells out of the report, and make goes on with the next one.
SHORT := trainer.max_epochs=8 optimizer.lr=1e-3
# where the processor computes in bf16; elsewhere that is slower than fp32
BF16 := $(shell grep -qw avx512_bf16 /proc/cpuinfo 2>/dev/null && echo trainer.precision=bf16-mixed)
FAST := $(SHORT) fold=0 $(BF16)
GRID := experiment=mldrsnet/window_step recording.mvc=10,30,50 recording.duration_s=10 dataset.batch_size=16 $(FAST)
paper: .venv/runs
	-$(RUN) -m neuroexp $(GRID) model=mldcnn,mtdcnn window=20,140 step=10,50
	-$(RUN) -m neuroexp $(GRID) model=mldrsnet window=20 step=10,50
	-$(RUN) -m neuroexp experiment=mobilescapenet/model_comparison model=mobilescapenet,engnet $(FAST)
	-$(RUN) -m neuroexp experiment=mobilescapenet/ablation model=mobilescapenet/E0,mobilescapenet/E1,mobilescapenet/E2,mobilescapenet/E3,mobilescapenet/E4 recording.rat=6 $(FAST)
	-$(RUN) -m neuroexp experiment=mobilescapenet/control recording.rat=6 $(FAST)
	-$(RUN) -m neuroexp experiment=protocol/split window=20,140 step=10 fold=0 $(SHORT)
	-$(RUN) -m neuroexp fetch
	-$(RUN) -m neuroexp experiment=protocol/split_real window=20 step=10 fold=0 label=window dataset.align=true trainer.max_epochs=60 optimizer.lr=1e-3
	-$(RUN) -m neuroexp experiment=protocol/label dataset.align=false window=20,140 fold=0 $(SHORT)
	-$(RUN) -m neuroexp experiment=protocol/label label=step dataset.align=true window=20,140 fold=0 $(SHORT)
	-$(RUN) -m neuroexp experiment=protocol/intensity recording.subject=1 recording.train_mvc=10,50 recording.test_mvc=10,50 $(SHORT)
	-$(RUN) -m neuroexp experiment=protocol/rats recording.test=[6] $(FAST)
	$(RUN) -m neuroexp report

# A test of real processes can run out of time beside others on a busy machine: what fails is run once more, alone.
test: check
	$(RUN) -m pytest -n 3 --dist worksteal || { test $$? -eq 1 && $(RUN) -m pytest --last-failed; }

# Ray's launcher wants an older cloudpickle than everything else, so its tests have an environment of their own.
test-ray: .venv/ray/ready
	.venv/ray/bin/python -m pytest tests/test_launchers.py -m ray

# the tests that start no process
quick: .venv/ready
	$(RUN) -m pytest -n 2 --dist worksteal -m "not process and not slow"

check: .venv/ready
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy

# the pages, in docs/_build/html; a warning is an error
docs: .venv/ready
	$(RUN) -m sphinx -W --keep-going -q -b html docs docs/_build/html

bench: .venv/ready
	$(RUN) -m benchmarks

# What trainings need. torch first and alone: a looser request by another package could bring a second, larger build.
.venv/runs: pyproject.toml constraints.txt
	@echo "Setting up .venv, once. It takes minutes. 1 of 2: PyTorch (190 MB to download for processors alone, gigabytes with CUDA)"
	@$(PYTHON) -m venv .venv
	@$(INSTALL) "$$(grep '^torch==' constraints.txt)"
	@echo "2 of 2: what else neuroexp runs on (190 MB to download)"
	@$(INSTALL) -c constraints.txt -e .
	@touch $@

# The extras of every launcher, reader and engine, and the tools that check this code.
.venv/ready: .venv/runs
	@echo "Adding every extra and the tools for development to .venv, once (180 MB to download)"
	@$(INSTALL) -c constraints.txt -e '.[dev]'
	@touch $@

# It has what differs, and sees .venv for the rest.
SITE := -c "import sysconfig; print(sysconfig.get_path('purelib'))"
.venv/ray/ready: .venv/ready requirements-ray.txt
	@echo "Adding an environment for Ray in .venv/ray, once (110 MB to download)"
	@$(RUN) -m venv .venv/ray
	@echo "import site; site.addsitedir('$$($(RUN) $(SITE))')" > "$$(.venv/ray/bin/python $(SITE))/beside.pth"
	@.venv/ray/bin/python -m pip install -qq --disable-pip-version-check -r requirements-ray.txt
	@touch $@

clean:
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis docs/_build
