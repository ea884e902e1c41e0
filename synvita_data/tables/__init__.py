"""Tables that users bring: CSV files, their cells, VQAScore files."""
