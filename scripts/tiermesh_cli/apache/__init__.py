"""Apache Kafka and Redis as processes on loopback, for tests and for people without containers."""
