//! Decisions: where a task goes and what comes next. A view in, a plan out. Pure.
