"""What can be typed after `neuroexp`: a module for each command."""
