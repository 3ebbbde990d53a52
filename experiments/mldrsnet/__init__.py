"""ML-DRSNet, ML-DCNN and MT-DCNN on high-density surface EMG (Ma et al., J NeuroEng Rehabil 22:106, 2025)."""

EXPERIMENT = "mldrsnet/window_step"  # whose runs all artefacts of the paper are made of
NETWORKS = ("mldrsnet", "mldcnn", "mtdcnn")
SCORES = ("test/f1", "test/sensitivity", "test/precision", "test/identified_units")
BEST = {"mldrsnet": (20, 50), "mldcnn": (140, 50), "mtdcnn": (140, 10)}  # window, step at which each is published best
SHORTEST = dict.fromkeys(NETWORKS, (20, 10))
ORDER = ("motor_units", "window_step", "intensity", "time", "best_cell", "shortest_cell")  # of the report
