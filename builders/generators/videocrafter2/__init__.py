"""VideoCrafter2 (`videocrafter2:DIR`)."""
