"""Who is on call, and whom a page calls in which order. Pure functions of the configuration and the time."""
