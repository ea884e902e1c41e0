"""LaVie (`lavie:DIR`)."""
