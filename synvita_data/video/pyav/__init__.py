"""Videos read with PyAV, the default backend."""
