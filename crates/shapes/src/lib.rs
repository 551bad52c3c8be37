//! Generated request and response types and their constraints. Nothing hand-written.
