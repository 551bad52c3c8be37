//! The only door to clock, ids, randomness, spawn and shutdown.
