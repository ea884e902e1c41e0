"""The leaderboard as one page: its data, its HTML with the style sheet and scripts of `assets/`, and an app that serves it."""
