"""Run every benchmark of a processor: `python -m benchmarks`; that of a GPU is `python benchmarks/device.py`."""

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
    startup,
    survival,
)

for benchmark in (
    startup,
    data_path,
    preparation,
    overhead,
    precision,
    mobilescapenet,
    latency,
    replay,
    many_jobs,
    survival,
):
    benchmark.main()
fuzz.main(3_000)  # of tens of thousands
