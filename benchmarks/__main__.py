"""Run every benchmark: `python -m benchmarks`."""

from benchmarks import data_path, mobilescapenet, overhead, precision, preparation

for benchmark in (data_path, preparation, overhead, precision, mobilescapenet):
    benchmark.main()
