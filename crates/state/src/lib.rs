//! Keeps what was decided: commands in, snapshots and change feed out, durable log.
