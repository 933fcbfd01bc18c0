"""What an answer cites: marks, claims, whether passages support them, and where passages stand."""
