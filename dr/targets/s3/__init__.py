"""The target kind `s3`: buckets, their versions and locks, and what the keys could destroy there."""
