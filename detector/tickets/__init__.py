"""The desk: tickets, their life and clocks, the timeline, and what is owed to whom; SQL lives here and nowhere else."""
