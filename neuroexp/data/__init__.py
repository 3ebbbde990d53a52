"""From a recording to the windows, labels and parts that a network is trained on."""
