"""What several tests share: the other programs of the mail world, started and stopped for a test."""
