"""What comes in from outside: pushed, scraped, recorded, read back; decoded to batches and alerts."""
