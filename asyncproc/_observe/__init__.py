"""What only looks: logs and pictures, all hanging on the one stream of transitions."""
