"""ML-DRSNet, ML-DCNN and MT-DCNN on high-density surface EMG (Ma et al., J NeuroEng Rehabil 22:106, 2025)."""

EXPERIMENT = "mldrsnet/window_step"  # whose runs all artefacts of the paper are made of
NETWORKS = ("mldrsnet", "mldcnn", "mtdcnn")
SCORES = ("test/f1", "test/sensitivity", "test/precision", "test/identified_units")
BESIDE = (  # what the paper does not have, and its scores are not to be read without
    "baseline/f1_all_positive",
    "baseline/identified_all_positive",
    "test/rate_of_agreement",
    "ceiling/rate_of_agreement",
    "test/roa_90_share",
    "ceiling/roa_90_share",
)
GAMED = (
    "identified_units: miss rate below 0.1, the paper's, which every unit reaches for a network that always fires "
    "(identified_all_positive); roa_90_share: units whose spike train agrees at a rate of 0.9 or more, with what perfect "
    "labels reach (ceiling)."
)
BEST = {"mldrsnet": (20, 50), "mldcnn": (140, 50), "mtdcnn": (140, 10)}  # window, step at which each is published best
SHORTEST = dict.fromkeys(NETWORKS, (20, 10))
ORDER = ("motor_units", "window_step", "intensity", "time", "best_cell", "shortest_cell")  # of the report
