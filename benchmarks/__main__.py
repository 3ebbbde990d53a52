"""Run every benchmark: `python -m benchmarks`."""

from benchmarks import (
    data_path,
    fuzz,
    latency,
    many_jobs,
    mobilescapenet,
    overhead,
    precision,
    preparation,
    replay,
    survival,
)

for benchmark in (data_path, preparation, overhead, precision, mobilescapenet, latency, replay, many_jobs, survival):
    benchmark.main()
fuzz.main(3_000)  # of tens of thousands
