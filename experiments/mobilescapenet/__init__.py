"""MobilESCAPE-Net and ESCAPE-Net on the compound action potentials of a nerve cuff (Gökdağ et al.)."""

EXPERIMENT = "mobilescapenet/model_comparison"  # whose runs most artefacts of the paper are made of
NETWORKS = ("mobilescapenet", "escapenet", "engnet", "inceptiontime", "lstm")
CLASSES = ("dorsiflexion", "plantarflexion", "pricking")
RATS = (4, 5, 6, 7, 8, 9)
ORDER = ("snr", "architectures", "ablation", "snr_f1", "class_f1", "model_comparison", "complexity")  # of the report
