"""The deployment test: `make test-deploy`."""
