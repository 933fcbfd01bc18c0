"""The local engine and real stores."""
