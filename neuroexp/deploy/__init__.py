"""A trained network as it is used: restored, run by an engine, written as a file."""
