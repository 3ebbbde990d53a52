"""Which decoder fits: score against what it costs, whatever was trained."""

ORDER = ("pareto",)  # of the report
