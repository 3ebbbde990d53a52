"""Run every benchmark: `python -m benchmarks`."""

from benchmarks import data_path, overhead

for benchmark in (data_path, overhead):
    benchmark.main()
