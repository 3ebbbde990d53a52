"""MATLAB files, parsed in a process of their own."""
