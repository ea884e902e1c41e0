"""Commands of the `synvita` program, one file each. Heavy imports stay inside the functions."""
