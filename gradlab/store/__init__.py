"""The run directory: Parquet tables that any reader can open at any moment."""
