"""One script per question about speed, memory or quality; each prints its own evidence."""
