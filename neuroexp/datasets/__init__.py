"""One function per learning problem: from a recording to a `Fold`."""
