"""The harness: what a benchmark is, how its contenders are run, and how the figures are shown."""
