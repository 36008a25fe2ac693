"""One file per peer or limit, each behind the protocols of `benchmarks.harness.contract`."""
