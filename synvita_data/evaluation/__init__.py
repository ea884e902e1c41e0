"""From scores to results: score files, the runner, result files, the leaderboard."""
