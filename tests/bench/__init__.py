"""Speed and memory of whole processes, as ratios to ``cp`` and to the script people write."""
