# Each target does all the set-up that it needs: a virtual environment in .venv with the tested versions.
PYTHON ?= python3
RUN := .venv/bin/python

.PHONY: run test check bench clean

run: .venv/ready
	$(RUN) -m neuroexp -m window=20,60 step=10,50

test: check
	$(RUN) -m pytest -n 2 --dist worksteal

check: .venv/ready
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy

bench: .venv/ready
	$(RUN) -m benchmarks

# torch first and alone: a looser request by another package could bring a second, larger build
.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(RUN) -m pip install -qq --disable-pip-version-check "$$(grep '^torch==' constraints.txt)"
	$(RUN) -m pip install -qq --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

clean:
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis
