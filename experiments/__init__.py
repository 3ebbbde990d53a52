"""One file per table or figure of a paper: finished runs read back from MLflow and set beside the published numbers."""

import neuroexp as neuroexp  # how Ctrl-C ends a command
