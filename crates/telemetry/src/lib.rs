//! What happened: container logs kept in append-only segments; never inside a state transaction.
