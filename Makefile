# Every target sets up what it needs. Python 3.11 or newer is the only thing that must be there.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: help setup demo serve test test-fast lint fmt types bench docs lock clean
help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Tapedeck needs Python 3.11 or newer; set PYTHON=/path/to/it"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

setup: $(READY) ## make .venv from the lock file

demo: $(READY) ## record three synthetic people over real WebRTC and check the film
	$(BIN)/python -m tapedeck.testing.demo

serve: $(READY) ## run the server on 127.0.0.1:8080
	$(BIN)/tapedeck serve

test: $(READY) ## all tests, real browser included (installs Debian packages where missing)
	@scripts/debian-packages chromium ffmpeg fonts-dejavu-core fonts-lohit-deva fonts-noto-color-emoji fonts-wqy-microhei libfribidi0 nginx-light libnginx-mod-rtmp libnginx-mod-stream nodejs openssh-server radosgw ceph-mon ceph-osd
	@command -v npm >/dev/null || scripts/debian-packages npm
	@$(MAKE) --no-print-directory tests/sdk/node_modules
	@PYTHON=$(BIN)/python scripts/test-servers
	@scripts/run-tests $(BIN)/python

tests/sdk/node_modules: tests/sdk/package-lock.json
	npm ci --silent --prefix tests/sdk
	@touch $@

test-fast: $(READY) ## tests that need no browser, no film and no server
	$(BIN)/python -m pytest -m "not e2e and not browser and not server"

lint: $(READY) ## style, format and import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-cache
	@scripts/check-tree

fmt: $(READY) ## format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

types: $(READY) ## mypy, strict
	$(BIN)/mypy

bench: $(READY) ## every mark beside its peer, measured in one run
	@scripts/debian-packages chromium ffmpeg xvfb wrk radosgw ceph-mon ceph-osd ceph-common
	$(BIN)/python -m bench

docs: $(READY) ## make docs/reference/api.md from the API's own description
	$(BIN)/python -m tapedeck.testing.reference > docs/reference/api.md

lock: $(READY) ## renew requirements.lock (hashes, no addresses)
	$(BIN)/uv pip compile pyproject.toml --quiet --extra dev --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-emit-find-links --no-header --no-annotate --upgrade -o requirements.lock

clean: ## remove what the targets made
	rm -rf $(VENV) .dev tests/servers/node_modules .mypy_cache .ruff_cache .pytest_cache .hypothesis
