"""Run every benchmark: `python -m benchmarks`."""

from benchmarks import data_path, overhead, precision

for benchmark in (data_path, overhead, precision):
    benchmark.main()
