"""Documents into an index: open, scan, sync, ingest, check, rebuild and export."""
