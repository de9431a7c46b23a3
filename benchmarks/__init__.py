"""Programs that measure the project itself; run them as ``python -m benchmarks.NAME``."""
