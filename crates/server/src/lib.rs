//! Answers the API and runs the loops.
