"""Recordings from elsewhere: the sample recording, data sets by their DOI."""
