"""What the papers could not say: how much of a score is the split, the label, the alignment, the recording."""

ORDER = ("overview", "split", "label", "intensity", "eng_control", "rats")  # of the report
